"""From a model's probabilities to the record of what it answered and how good that was."""

import json
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from components import objects
from components.artifacts import Predictions, Prepared, Split
from components.evaluation import intervals, metrics, plots, slices
from components.evaluation.rows import Rows
from components.files import canonical
from components.workspace import current

WORST = 20
"""Most confident errors that a report shows."""
SHOWN_CHARACTERS = 200
DIGITS = 6
"""Digits after the point in reports."""


def predictions(  # noqa: PLR0913  the parts of one record, none of which has a default
    model: str,
    of: str,
    data: Prepared,
    *,
    split: Split,
    objective: dict[str, Any],
    probability: np.ndarray,
) -> Predictions:
    """The record of one model on one split, its report and plots in the object store.

    `probability` is (rows, labels) in the order of the split. Scores, report and plots are also
    offered to whoever follows the running step.

    Raises:
        ValueError: the probabilities are not one row per example.
    """
    arrays = load_file(objects.path(data.files[f"{split}.safetensors"]))
    rows = Rows(probability.astype(np.float32), arrays["label"], arrays["unit"])
    scores = intervals.scores(rows)
    bins = metrics.bins(rows)
    matrix = metrics.confusion(rows)
    report = {
        "model": model,
        "split": split,
        "scores": {name: score.model_dump() for name, score in scores.items()},
        "classes": _classes(rows, data.spec.labels),
        "confusion": {"labels": data.spec.labels, "rows": matrix.tolist()},
        "calibration": _calibration(bins),
        "slices": slices.scored(rows, _groups(arrays)),
        "worst": _worst(rows, data, split),
    }
    files = {
        "rows.safetensors": rows.to_bytes(),
        "report.json": canonical(rounded(report)) + b"\n",
        "confusion.png": plots.confusion_png(matrix, data.spec.labels),
        "reliability.png": plots.reliability_png(bins, scores["ece"].value),
    }
    made = Predictions(
        model=model,
        of=of,
        data=data.digest,
        split=split,
        objective=objective,
        files={name: objects.put_bytes(content) for name, content in files.items()},
        scores=scores,
    )
    _show(made)
    return made


def rounded(value: Any) -> Any:
    """The value with every number cut to the digits that a report shows."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return value


def _show(made: Predictions) -> None:
    """Report and plots under their own names; the rows stay in the object store."""
    here = current()
    here.metrics({f"{made.split}/{name}": score.value for name, score in made.scores.items()})
    for name, content in made.files.items():
        if name != "rows.safetensors":
            here.file(objects.link(content, here.folder / name), f"evaluation/{made.split}/{name}")


def _classes(rows: Rows, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    counts = metrics.tally(rows)
    columns = (metrics.precision(counts), metrics.recall(counts), metrics.f1(counts))
    return [
        {
            "label": label,
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "rows": int(support),
        }
        for label, precision, recall, f1, support in zip(labels, *columns, counts.rows, strict=True)
    ]


def _calibration(bins: metrics.Bins) -> list[dict[str, float]]:
    return [
        {"rows": int(rows), "confidence": float(sure / rows), "right": float(hits / rows)}
        for rows, hits, sure in zip(*bins, strict=True)
        if rows
    ]


def _groups(arrays: dict[str, np.ndarray]) -> slices.Groups:
    if "offsets" in arrays:
        return slices.by_length(np.diff(arrays["offsets"]))
    return slices.by_ink(arrays["pixels"])


def _worst(rows: Rows, data: Prepared, split: Split) -> list[dict[str, Any]]:
    """The errors that the model was surest of: where labels are wrong or inputs mislead."""
    wrong = np.flatnonzero(~rows.right)
    order = wrong[np.argsort(-rows.confidence[wrong], kind="stable")][:WORST]
    lines = objects.path(data.files[f"rows.{split}.jsonl"]).read_bytes().splitlines()
    return [
        {
            "id": (row := json.loads(lines[position]))["id"],
            "text": (row.get("text") or "")[:SHOWN_CHARACTERS],
            "true": data.spec.labels[rows.label[position]],
            "chosen": data.spec.labels[rows.chosen[position]],
            "confidence": float(rows.confidence[position]),
        }
        for position in order
    ]

"""Rescore: the champion on this run's rows, measured by this run."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import (
    Exported,
    Files,
    Made,
    Measured,
    Predictions,
    Prepared,
    Split,
    Variant,
)
from components.errors import DataRejected
from components.inference.timing import LARGE_BATCH, MeasureConfig
from components.records import Record

if TYPE_CHECKING:
    import numpy as np

    from components.inference.predictor import Predictor


class Champion(Record):
    """The version that the alias names, ready to answer raw rows."""

    name: str
    version: int
    bundle: str
    """sha256 of its manifest."""
    exported: Exported
    files: Files
    """`model.onnx`, `inputs.json` and what the latter names."""


def rescore(champion: Champion, data: Prepared, config: MeasureConfig) -> Variant:
    """The champion as a rival: its answers to this run's raw rows, its size and speed here.

    It reads the rows with its own tokenizer, for this run's may differ.

    Raises:
        DataRejected: it answers other labels than this run's data have.
        IntegrityError: a file of its bundle is absent or damaged.
    """
    from components import objects
    from components.inference.predictor import Predictor
    from components.workspace import current

    folder = current().folder / "champion"
    for name, sha in champion.files.items():
        objects.link(sha, folder / name)
    predictor = Predictor(folder)
    if set(predictor.labels) != set(data.spec.labels):
        raise DataRejected(
            f"{champion.name} v{champion.version} answers {', '.join(predictor.labels)}; "
            f"this run's data have {', '.join(data.spec.labels)}",
            "register under another name: these are two tasks",
        )
    return Variant(
        exported=champion.exported,
        measured=_measured(champion, predictor, _raw(data, "val"), config),
        validation=_answers(champion, predictor, data, "val"),
        test=_answers(champion, predictor, data, "test"),
    )


def _answers(
    champion: Champion, predictor: "Predictor", data: Prepared, split: Split
) -> Predictions:
    from components.evaluation import report

    probability = predictor.predict(_raw(data, split)).probability
    columns = [predictor.labels.index(label) for label in data.spec.labels]
    return report.predictions(
        f"champion v{champion.version}",
        champion.exported.digest,
        data,
        split=split,
        objective=champion.exported.model.recipe.objective.model_dump(mode="json"),
        probability=probability[:, columns],
    )


def _raw(data: Prepared, split: Split) -> "Sequence[str] | Sequence[np.ndarray]":
    """The rows as they came: texts, or grey values."""
    from safetensors.numpy import load_file

    from components import objects

    if data.spec.modality == "image":
        return list(load_file(objects.path(data.files[f"{split}.safetensors"]))["pixels"])
    lines = Path(objects.path(data.files[f"rows.{split}.jsonl"])).read_bytes().splitlines()
    return [json.loads(line)["text"] for line in lines]


def _measured(
    champion: Champion,
    predictor: "Predictor",
    items: "Sequence[str] | Sequence[np.ndarray]",
    config: MeasureConfig,
) -> Measured:
    import numpy as np

    from components.inference import timing

    began = time.monotonic()
    rows = predictor.reader.read(items)  # type: ignore[arg-type]

    def batches(count: int, size: int) -> list[dict[str, np.ndarray]]:
        spread = np.linspace(0, len(rows) - 1, count * size).astype(int)
        return [predictor.reader.batch([rows[at] for at in spread[k::count]]) for k in range(count)]

    run = predictor.session.run
    [one] = timing.timed([run], batches(config.single_rows, 1), config.rounds)
    [many] = timing.timed([run], batches(config.batches, LARGE_BATCH), config.rounds)
    processor = {"batch_1_p50": timing.processor(one), "batch_32_p50": timing.processor(many)}
    latency = timing.latency(one, many)
    facts = {"latency_ms": latency, "cpu_ms": processor, "host": timing.host()}
    return Measured(
        exported=champion.exported.digest,
        size_bytes=champion.exported.size_bytes,
        made=Made(seconds=round(time.monotonic() - began, 3), facts=facts),
    )

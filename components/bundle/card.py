"""The model card: what the version is, what it was made from and what it was seen to do."""

import json
from collections.abc import Iterable
from typing import Any

from components.artifacts import Predictions, Prepared, Variant
from components.records import content


def card(name: str, variants: Iterable[Variant], selected: Variant, data: Prepared) -> str:
    """Markdown with the numbers of the records; nothing in it is written by hand."""
    exported = selected.exported
    recipe = exported.model.recipe
    lines = [
        f"# {name}",
        "",
        f"A {_kind(recipe.architecture)} trained for {_kind(recipe.objective)} on "
        f"{' and '.join(source.raw.name for source in data.sources)}, "
        f"compressed as `{exported.name}`. Labels: {', '.join(map(_word, data.spec.labels))}.",
        "",
        "## Variants",
        "",
        "| variant | size | validation accuracy | test accuracy | 1 row | 32 rows | as PyTorch |",
        "|---|---|---|---|---|---|---|",
        *(_row(variant, variant == selected) for variant in variants),
        "",
        "The served variant is bold. Intervals are 95 %, resampled by unit. Latencies are medians "
        "per call on one thread of ONNX Runtime, on the machine that made the version.",
        "",
        *_test(selected.test),
        "## Data",
        "",
        "| data set | digest | rows |",
        "|---|---|---|",
        *(
            f"| {source.raw.name} | `{source.raw.tree}` | {_counts(source.raw.rows)} |"
            for source in data.sources
        ),
        "",
        "## Training",
        "",
        "```json",
        _pretty(content(recipe.model_dump(mode="json"))),
        "```",
        "",
        f"Started from other weights: {_parents(exported.model.parents)}.",
        "",
        "## Limits",
        "",
        "It chooses among the labels above whatever it is given. It was tested on rows of the same "
        "origin as its training rows; other sources and later times may differ.",
        "",
    ]
    return "\n".join(lines)


def _row(variant: Variant, served: bool) -> str:
    exported = variant.exported
    made = variant.measured.made
    latency = made.facts.get("latency_ms", {}) if made else {}
    mark = "**" if served else ""
    cells = [
        f"{mark}{exported.name}{mark}",
        f"{exported.size_bytes / 1e6:.2f} MB",
        _score(variant.validation),
        _score(variant.test),
        _milliseconds(latency.get("batch_1_p50")),
        _milliseconds(latency.get("batch_32_p50")),
        f"{exported.parity.top1_agreement:.2%} of {exported.parity.rows} rows",
    ]
    return f"| {' | '.join(cells)} |"


def _test(predictions: Predictions | None) -> list[str]:
    if predictions is None:
        return []
    rows = [
        f"| {name} | {score.value:.4f} | {score.low:.4f} to {score.high:.4f} | {score.n} |"
        for name, score in sorted(predictions.scores.items())
    ]
    return [
        "## On the test rows",
        "",
        "| metric | value | 95 % interval | units |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _score(predictions: Predictions | None) -> str:
    if predictions is None or "accuracy" not in predictions.scores:
        return "-"
    score = predictions.scores["accuracy"]
    return f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in sorted(rows.items()))


def _parents(parents: dict[str, str]) -> str:
    return ", ".join(f"{role} `{sha[:12]}`" for role, sha in sorted(parents.items())) or "no"


def _kind(option: Any) -> str:
    return f"`{option.kind}`"


def _word(label: str) -> str:
    return label.replace("|", "\\|").replace("\n", " ")


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)

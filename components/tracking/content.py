"""What records say in MLflow's words: params, tags, data sets, metrics."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from components.artifacts import RawData, Variant

DIGEST = 36
"""Characters of a data set's digest that MLflow keeps: an md5 and `.dir` fit exactly."""


def variant_metrics(variant: Variant, raw: RawData) -> list[dict[str, Any]]:
    """Scores tied to their split; size and latency, which belong to none."""
    found = [("size_mb", variant.exported.size_bytes / 1e6, "")]
    made = variant.measured.made
    latency = made.facts.get("latency_ms", {}) if made else {}
    found += [(f"latency_ms/{name}", value, "") for name, value in latency.items() if value]
    for split, predictions in (("val", variant.validation), ("test", variant.test)):
        if predictions is not None:
            scores = predictions.scores.items()
            found += [(f"{split}/{name}", score.value, split) for name, score in scores]
    return [
        {
            "name": name,
            "value": float(value),
            "dataset": f"{raw.name}-{split}" if split else "",
            "digest": raw.tree[:DIGEST] if split else "",
        }
        for name, value, split in found
    ]


def datasets(raw: RawData) -> list[dict[str, Any]]:
    """The splits of a data set, each with DVC's digest of the whole."""
    contexts = {"train": "training", "val": "validation", "test": "test"}
    return [
        {
            "name": f"{raw.name}-{split}",
            "digest": raw.tree[:DIGEST],
            "context": context,
            "source": {"path": f"data/{raw.name}", "md5": raw.tree},
            "profile": {"rows": raw.rows[split]},
        }
        for split, context in contexts.items()
        if split in raw.rows
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as `a.b` -> text."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text


def texts(tags: Mapping[str, Any]) -> dict[str, str]:
    """Every value as text."""
    return {name: str(value) for name, value in tags.items()}

"""What a journal says and what MLflow shows of it, point by point, read apart from our reader."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mlflow import MlflowClient

WHOLE = 1000
"""The first points of a metric are all shown; later ones one per cent apart, and the last."""


class Difference(NamedTuple):
    """Points `(metric, step, value)` that are in one place only, or in MLflow more than once."""

    points: int
    """In the journal."""
    lost: list[tuple[str, int, float]]
    doubled: list[tuple[str, int, float]]
    strange: list[tuple[str, int, float]]

    @property
    def none(self) -> bool:
        """Every point once, and there are points."""
        return self.points > 0 and not (self.lost or self.doubled or self.strange)


def written(journal: Path) -> list[tuple[str, int, float]]:
    """Points of a journal that are to be shown; of a step that was reported twice the first."""
    curves: dict[str, list[tuple[str, int, float]]] = {}
    for line in journal.read_bytes().split(b"\n"):
        if b'"kind": "metrics"' not in line:
            continue
        entry = json.loads(line)
        for name, value in entry["values"].items():
            curve = curves.setdefault(name, [])
            if not curve or entry["step"] > curve[-1][1]:
                curve.append((name, entry["step"], float(value)))
    return [
        point
        for curve in curves.values()
        for index, point in enumerate(curve)
        if index < WHOLE
        or index == len(curve) - 1
        or math.floor(100 * math.log(index)) != math.floor(100 * math.log(index - 1))
    ]


def difference(journal: Path, client: "MlflowClient", run_id: str) -> Difference:
    """What is not in both exactly once."""
    wanted = Counter(written(journal))
    shown: Counter[tuple[str, int, float]] = Counter()
    for name in {name for name, _, _ in wanted} | set(client.get_run(run_id).data.metrics):
        page = client.get_metric_history(run_id, name)
        shown.update((point.key, point.step, point.value) for point in page)
    return Difference(
        points=len(wanted),
        lost=[point for point in wanted if not shown[point]],
        doubled=[point for point, count in shown.items() if count > 1],
        strange=[point for point in shown if point not in wanted],
    )

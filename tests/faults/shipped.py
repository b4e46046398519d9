"""What a journal says and what MLflow shows of it, point by point, read apart from our reader."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mlflow import MlflowClient

THINNED_FROM = 1000
"""Points of one metric beyond this number are not all shown: a test stays below it."""


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
    """Points of a journal; of a step that was reported again after a kill the first report."""
    found: list[tuple[str, int, float]] = []
    last: dict[str, int] = {}
    for line in journal.read_bytes().split(b"\n"):
        if b'"kind": "metrics"' not in line:
            continue
        entry = json.loads(line)
        for name, value in entry["values"].items():
            if name not in last or entry["step"] > last[name]:
                last[name] = entry["step"]
                found.append((name, entry["step"], float(value)))
    assert all(count < THINNED_FROM for count in Counter(name for name, _, _ in found).values())
    return found


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

"""Reading a step's journal while it grows, and what of it goes to MLflow.

How far the reading came lies beside the journal, flushed to the disk: after a restart nothing is
shipped twice. A point is known by (run, name, step); a training that goes on from a checkpoint
repeats steps, of which the first report counts.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from components import files

WHOLE = 1000
"""The first points of a metric all count; later ones must be this share of a hundredth apart."""

BATCH = 1000
"""Most metrics of one request, MLflow's own limit."""


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    step: int
    time_ms: int


class Portion(NamedTuple):
    """What a stretch of the journal holds, and where the reading stands after it."""

    points: list[Point]
    params: dict[str, Any]
    files: list[dict[str, str]]
    trials: list[dict[str, Any]]
    state: "State"


class State(NamedTuple):
    """How far a run's journal is shipped."""

    run_id: str
    offset: int = 0
    seen: dict[str, tuple[int, int]] = {}
    """Metric -> number of its points so far, and its last step."""
    held: dict[str, list[float]] = {}
    """Metric -> (value, step, time in ms) of its latest point, where that was left out."""


def keeps(index: int) -> bool:
    """Whether the point of this index (from 0) is shown: the first 1000, then one per cent apart.

    That is at most 2000 of 20 million, and a function of the index alone, so that a restart
    chooses the same.
    """
    if index < WHOLE:
        return True
    return math.floor(100 * math.log(index)) != math.floor(100 * math.log(index - 1))


def load(journal: Path, run_id: str) -> State:
    """Where the reading for this run stands; at the start for a run that is new to the journal."""
    try:
        value = json.loads(_beside(journal).read_bytes())
    except (OSError, ValueError):
        return State(run_id)
    if value["run_id"] != run_id:
        return State(run_id)
    seen = {name: (count, step) for name, (count, step) in value["seen"].items()}
    return State(run_id, value["offset"], seen, value["held"])


def save(journal: Path, state: State) -> None:
    """Remember that everything before this state arrived."""
    files.write_json(_beside(journal), state._asdict())


def portions(journal: Path, state: State, until: int | None = None) -> Iterator[Portion]:
    """The lines since `state`, in portions of at most one request; a torn last line waits.

    Bytes from `until` on are not read: a later run of the same step wrote them.
    """
    try:
        file = journal.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(state.offset)
        current = _Reading(state)
        for line in file:
            if not line.endswith(b"\n"):
                break
            if until is not None and current.offset + len(line) > until:
                break
            current.take(line)
            if len(current.points) >= BATCH - 100 or current.trials:
                yield current.portion()
                current = _Reading(current.state())
        if current.offset > current.begun:
            yield current.portion()


def rest(state: State) -> list[Point]:
    """The latest point of every metric that thinning left out: a curve ends where it ended."""
    latest = state.held.items()
    return [Point(name, value, int(step), int(at)) for name, (value, step, at) in latest]


def _beside(journal: Path) -> Path:
    return journal.with_suffix(".shipped.json")


class _Reading:
    """The lines of one portion."""

    def __init__(self, state: State) -> None:
        self.run_id, self.begun = state.run_id, state.offset
        self.offset, self.seen, self.held = state.offset, dict(state.seen), dict(state.held)
        self.points: list[Point] = []
        self.params: dict[str, Any] = {}
        self.files: list[dict[str, str]] = []
        self.trials: list[dict[str, Any]] = []

    def take(self, line: bytes) -> None:
        self.offset += len(line)
        try:
            entry = json.loads(line)
            kind = entry["kind"]
        except (ValueError, KeyError, TypeError):
            return  # two processes wrote into one line, or a disk went bad: the rest is still good
        if kind == "metrics":
            for name, value in entry["values"].items():
                self._point(name, float(value), int(entry["step"]), int(entry["time"] * 1000))
        elif kind == "params":
            self.params.update(entry["values"])
        elif kind == "file":
            self.files.append({"path": entry["path"], "name": entry["name"]})
        elif kind == "trial":
            self.trials.append(entry)

    def _point(self, name: str, value: float, step: int, time_ms: int) -> None:
        count, last = self.seen.get(name, (0, -1))
        if count and step <= last:
            return
        self.seen[name] = (count + 1, step)
        if keeps(count):
            self.points.append(Point(name, value, step, time_ms))
            self.held.pop(name, None)
        else:
            self.held[name] = [value, step, time_ms]

    def state(self) -> State:
        return State(self.run_id, self.offset, self.seen, self.held)

    def portion(self) -> Portion:
        return Portion(self.points, self.params, self.files, self.trials, self.state())

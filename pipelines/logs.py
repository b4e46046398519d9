"""`athanor logs`: what happened in a run, in order of time.

It is told by the run's record, by the journals of the steps that it executed, and by what the
servers wrote into their logs meanwhile.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from components import project
from components.errors import UsageError
from components.processes import host
from pipelines import reaping, runs
from pipelines.progress import Tail
from pipelines.runs import Attempt, RunRecord, StepRecord
from pipelines.workers import waiting
from pipelines.workers.queue import FlowRun

POLL_S = 0.5


class Line(NamedTuple):
    """One thing that happened."""

    at: str
    """UTC, ISO 8601."""
    source: str
    """`run`, a step's name, or `prefect` or `mlflow` for a line of the server's log."""
    text: str


class Story:
    """A run's lines, each told once."""

    def __init__(self, name: str) -> None:
        self.run, self.record, self._queued = _found(name)
        self._told: set[tuple[Any, ...]] = set()
        self._tails: dict[tuple[int, str], Tail] = {}

    @property
    def state(self) -> str:
        """As in `athanor runs`; `queued` before it begins."""
        return self.record.state if self.record else "queued"

    @property
    def over(self) -> bool:
        """Whether nobody works on the run, and nobody will by itself."""
        if self.record is not None and self.record.state == "running":
            return False
        if self._queued is None and self.state != "crashed":
            return True
        self._queued = waiting.queued(self.run)
        if self.record is None and self._queued is None:
            self.record = runs.load(self.run)  # it began this very moment
            return self.record is None
        return self._queued is None

    def news(self) -> list[Line]:
        """What happened since the last call, in order of time."""
        reaping.records()
        self.record = runs.load(self.run) or self.record
        lines = list(self._new(-1, _waits(self.run, self._queued)))
        if self.record is None:
            return lines
        for number, attempt in enumerate(self.record.attempts):
            lines += self._new(number, _said(attempt, number))
            for step in attempt.steps:
                if step.key and step.state != "cached":
                    lines += self._journal(number, attempt, step)
            for server, (begin, end) in attempt.logs.items():
                lines += self._server(number, attempt, (server, begin, end))
            lines += self._new(number, _ended(attempt))  # last of what is equally late
        return sorted(lines, key=lambda line: line.at)

    def _new(self, number: int, lines: Iterator[Line]) -> Iterator[Line]:
        for line in lines:
            if (number, line) not in self._told:
                self._told.add((number, line))
                yield line

    def _journal(self, number: int, attempt: Attempt, step: StepRecord) -> Iterator[Line]:
        place = project.home() / "work" / str(step.key) / "journal.jsonl"
        tail = self._tails.get((number, step.name))
        if tail is None:
            tail = self._tails[number, step.name] = Tail(place, 0)
        begun = _stamp(step.begun)
        over = _stamp(attempt.ended) + 1e-3 if attempt.ended else None  # written to the millisecond
        for entry in tail.lines():
            at = entry.get("time", 0.0)
            if begun <= at and (over is None or at <= over) and (said := _entry(entry)):
                yield Line(_iso(at), step.name, said)

    def _server(
        self, number: int, attempt: Attempt, part: tuple[str, int, int | None]
    ) -> Iterator[Line]:
        """Lines of a server's log have no time that we could read: the attempt's stands for it."""
        server, begin, end = part
        place = project.home() / "logs" / f"{server}.log"
        for at, line in _written(place, begin, end):
            if line and (number, server, at) not in self._told:
                self._told.add((number, server, at))
                yield Line(attempt.ended or runs.now(), server, line)


def parts(story: Story, follow: bool) -> Iterator[list[Line]]:
    """All lines until now; with `follow` also those that come, until the run ends."""
    yield story.news()
    while follow and not story.over:
        time.sleep(POLL_S)
        yield story.news()


def text(line: Line) -> str:
    """A line as it is printed."""
    return f"{line.at[:19].replace('T', ' ')}  {line.source:<24} {line.text}"


def document(run: str, state: str, lines: list[Line]) -> dict[str, Any]:
    """A run and its lines as JSON."""
    return {
        "id": run,
        "state": state,
        "lines": [line._asdict() for line in lines],
    }


def _found(name: str) -> tuple[str, RunRecord | None, FlowRun | None]:
    """A run's id, its record, and what stands for it in the queue.

    Raises:
        UsageError: there is no such run.
    """
    try:
        record = runs.find(name)
    except UsageError:
        if (queued := waiting.queued(name)) is None:
            raise
        return queued.name, None, queued
    return record.id, record, None if record.state == "running" else waiting.queued(record.id)


def _waits(run: str, queued: FlowRun | None) -> Iterator[Line]:
    """What a run that is to begin waits for."""
    if queued is not None:
        yield Line(queued.due or runs.now(), "run", f"waits for {waiting.now(queued)}")


def _said(attempt: Attempt, number: int) -> Iterator[Line]:
    """What the record tells of an attempt."""
    where, _, pid, _ = attempt.owner.split(" ")
    word = "begun" if number == 0 else "resumed"
    yield Line(attempt.begun, "run", f"{word} on {host(where)} by process {pid}")
    for step in attempt.steps:
        if step.state != "cached":
            yield Line(step.begun, step.name, f"started  ({step.reason})")
    for step in attempt.steps:
        if step.state == "cached":
            yield Line(step.begun, step.name, "cached")
        elif step.state == "executed":
            ended = _stamp(step.begun) + (step.seconds or 0.0)
            yield Line(_iso(ended), step.name, f"done in {step.seconds or 0.0:.1f} s")
        elif step.state != "running" and attempt.ended:
            yield Line(attempt.ended, step.name, step.state)


def _ended(attempt: Attempt) -> Iterator[Line]:
    if attempt.ended:
        code = f", exit code {attempt.exit_code}" if attempt.exit_code is not None else ""
        error = f": {attempt.error.message}" if attempt.error else ""
        yield Line(attempt.ended, "run", f"{attempt.state}{code}{error}")


def _entry(entry: dict[str, Any]) -> str:
    """A line of a journal in words; empty where it says nothing to a person."""
    kind = entry["kind"]
    if kind == "metrics":
        values = "  ".join(f"{name} {value:.6g}" for name, value in entry["values"].items())
        return f"step {entry['step']}: {values}" if entry["step"] else values
    if kind == "progress":
        return f"{entry['done']:g} of {entry['total']:g}  {entry['text']}".rstrip()
    if kind == "trial":
        values = "  ".join(f"{name} {value}" for name, value in entry["params"].items())
        return f"trial {entry['number'] + 1} {entry['state']}: {entry['value']}  ({values})"
    if kind == "file":
        return f"wrote {entry['name']}"
    if kind == "params" and entry["values"]:
        return "  ".join(f"{name} {_value(value)}" for name, value in entry["values"].items())
    return ""


def _value(value: Any) -> str:
    """Of several their names; of no device what does the work then."""
    return ", ".join(map(str, value)) or "cpu" if isinstance(value, list) else str(value)


def _written(place: Path, begin: int, end: int | None) -> Iterator[tuple[int, str]]:
    """Whole lines of a log between two lengths, each with where it begins."""
    try:
        with place.open("rb") as file:
            file.seek(begin)
            written = file.read(-1 if end is None else max(0, end - begin))
    except OSError:
        return
    at = begin
    for line in written.splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield at, line.decode(errors="replace").rstrip()
        at += len(line)


def _stamp(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")

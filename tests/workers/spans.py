"""When which step had which device: what steps say themselves, in their journals."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from pipelines.runs import RunRecord


class Span(NamedTuple):
    """A step's time on a device, in seconds since 1970."""

    wanted: float
    """When its run asked for it."""
    device: str
    begin: float
    end: float


def of_run(home: Path, record: RunRecord, step: str) -> Span:
    """The span of a run's step that had one device."""
    asked = next(one for one in record.last.steps if one.name == step)
    journal = home / "work" / str(asked.key) / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    told = next(line["values"] for line in lines if line["kind"] == "params")
    (device,) = told["devices"]
    wanted = datetime.fromisoformat(asked.begun).timestamp()
    return Span(wanted, device, lines[0]["time"], lines[-1]["time"])


def executed(home: Path, record: RunRecord) -> list[Span]:
    """The spans of all steps of a run that were executed on a device."""
    spans = []
    for step in record.last.steps:
        if step.state == "executed":
            with suppress(OSError, StopIteration, ValueError):  # it was light, or wanted a slot
                spans.append(of_run(home, record, step.name))
    return spans


def shared(spans: Sequence[Span]) -> list[tuple[Span, Span]]:
    """Pairs that had one device at one time."""
    return [
        (one, other)
        for one, other in combinations(spans, 2)
        if one.device == other.device and one.begin < other.end and other.begin < one.end
    ]


def idle(spans: Sequence[Span]) -> list[float]:
    """Seconds of each span's device from when it was free and wanted to when it was at work."""
    found = []
    for one in spans:
        before = [each.end for each in spans if each.device == one.device and each.end <= one.begin]
        found.append(one.begin - max([one.wanted, *before]))
    return found

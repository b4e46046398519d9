"""What `athanor compare` says, as records: text, JSON and page are made from these alone."""

from typing import Any

from components.evaluation.contrast import Contrast
from components.records import Record


class Cost(Record):
    """Milliseconds of the processor for one call of a graph, the median."""

    batch_1: float
    batch_32: float


class Model(Record):
    """One of the two."""

    reference: str
    """As it was asked for."""
    title: str
    name: str
    version: int
    variant: str
    bundle: str
    run_id: str
    stored: bool
    """Whether its run left these answers; else it gave them now."""
    size_bytes: int
    cpu_ms: Cost
    """Measured now: the two take turns."""
    data: dict[str, Any]
    """Name, digest (`tree`) and rows of the data set that it was made from."""
    commit: str
    edited: bool
    """Whether its source differed from that commit."""


class Answer(Record):
    """What one model said to one row."""

    label: str
    probability: float


class Example(Record):
    """A row that only one of the two answers rightly."""

    id: str
    text: str | None
    """None for a picture."""
    true: str
    a: Answer
    b: Answer


class Change(Record):
    """One leaf that differs between what the two were made from."""

    kind: str
    """`config`, `data`, `code` or `library`."""
    where: str
    a: Any
    b: Any


class Compared(Record):
    """All that `athanor compare` says."""

    a: Model
    b: Model
    data: dict[str, Any]
    """Name and digest (`tree`) of the rows that both answered."""
    contrast: Contrast
    lost: tuple[Example, ...]
    """Negative flips: a was right, b is wrong; the surest errors first."""
    won: tuple[Example, ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def ratios(found: Compared) -> dict[str, float]:
    """How many times smaller and faster b is than a."""
    a, b = found.a, found.b
    return {
        "size": round(a.size_bytes / b.size_bytes, 4),
        "batch_1": round(a.cpu_ms.batch_1 / b.cpu_ms.batch_1, 4),
        "batch_32": round(a.cpu_ms.batch_32 / b.cpu_ms.batch_32, 4),
    }

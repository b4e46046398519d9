"""Two models on the same rows, a first and b beside it: who answers what rightly, and where."""

from typing import Literal, NamedTuple

import numpy as np

from components.artifacts import Score
from components.evaluation import intervals, metrics, paired
from components.evaluation.rows import Rows
from components.evaluation.slices import Groups
from components.records import Record

Test = Literal["mcnemar", "bootstrap"]


class Asked(NamedTuple):
    """How the two are compared: as the gate would."""

    test: Test
    alpha: float
    """Largest one-sided p-value that counts as shown."""
    margin: float
    """Largest loss of accuracy that counts as not worse."""


class Beside(Record):
    """A number of both, and how much more b has, with the interval of the paired difference."""

    a: Score
    b: Score
    difference: Score


class OfClass(Record):
    """F1 of one label."""

    label: str
    rows: int
    a: float
    b: float
    difference: Score


class OfSlice(Record):
    """Accuracy on rows that look alike."""

    slice: str
    rows: int
    a: float
    b: float
    difference: Score
    wins: int
    losses: int


class Bin(Record):
    """Rows of like confidence, and the share of them that was right."""

    rows: int
    confidence: float
    right: float


class Paired(Record):
    """The gate's test, in both directions: b is the candidate, a the rival."""

    test: Test
    wins: int
    """Rows that only b answers rightly."""
    losses: int
    """Rows that only a answers rightly: negative flips."""
    both_right: int
    both_wrong: int
    difference: Score
    """Accuracy of b minus accuracy of a."""
    p_better: float
    """How often chance alone shows b so far ahead of an equal a; one-sided."""
    p_worse: float
    p_not_worse: float
    """The same against "worse by the margin"."""
    margin: float
    finding: Literal["better", "worse", "not worse", "undecided"]
    """At `alpha`: `not worse` is by less than the margin."""
    alpha: float


class Contrast(Record):
    """All that the answers of two models to the same rows say about them."""

    rows: int
    units: int
    paired: Paired
    metrics: dict[str, Beside]
    classes: tuple[OfClass, ...]
    slices: tuple[OfSlice, ...]
    calibration: dict[str, tuple[Bin, ...]]
    """`a` and `b`: bins of equal mass, the least sure first."""


def contrast(a: Rows, b: Rows, labels: tuple[str, ...], groups: Groups, asked: Asked) -> Contrast:
    """b beside a.

    Raises:
        ValueError: they are not answers to the same rows.
    """
    found = _paired(a, b, asked)
    gaps, per_class = intervals.differences(a, b)
    scores = [intervals.scores(rows) for rows in (a, b)]
    f1 = [metrics.f1(metrics.tally(rows)) for rows in (a, b)]
    support = metrics.tally(a).rows
    return Contrast(
        rows=len(a.label),
        units=found.difference.n,
        paired=found,
        metrics={
            name: Beside(a=scores[0][name], b=scores[1][name], difference=gap)
            for name, gap in gaps.items()
        },
        classes=tuple(
            OfClass(
                label=label,
                rows=int(support[at]),
                a=float(f1[0][at]),
                b=float(f1[1][at]),
                difference=per_class[at],
            )
            for at, label in enumerate(labels)
        ),
        slices=tuple(
            _slice(name, a.take(mask), b.take(mask), found.test) for name, mask in groups.items()
        ),
        calibration={"a": _bins(a), "b": _bins(b)},
    )


def flips(a: Rows, b: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the rows that b loses, and of those that it wins.

    First those on which whoever is wrong was surest.
    """
    lost = np.flatnonzero(a.right & ~b.right)
    won = np.flatnonzero(b.right & ~a.right)
    lost = lost[np.argsort(-b.confidence[lost], kind="stable")]
    return lost, won[np.argsort(-a.confidence[won], kind="stable")]


def _paired(a: Rows, b: Rows, asked: Asked) -> Paired:
    independent = len(np.unique(a.unit)) == len(a.unit)
    test: Test = asked.test if independent else "bootstrap"
    better = paired.compare(b, a, test=test)
    worse = paired.compare(a, b, test=test)
    not_worse = paired.compare(b, a, test=test, margin=asked.margin)
    finding: Literal["better", "worse", "not worse", "undecided"] = "undecided"
    if better.p_value <= asked.alpha:
        finding = "better"
    elif worse.p_value <= asked.alpha:
        finding = "worse"
    elif not_worse.p_value <= asked.alpha:
        finding = "not worse"
    return Paired(
        test=test,
        wins=better.wins,
        losses=better.losses,
        both_right=int((a.right & b.right).sum()),
        both_wrong=int((~a.right & ~b.right).sum()),
        difference=better.difference,
        p_better=better.p_value,
        p_worse=worse.p_value,
        p_not_worse=not_worse.p_value,
        margin=asked.margin,
        finding=finding,
        alpha=asked.alpha,
    )


def _slice(name: str, a: Rows, b: Rows, test: Test) -> OfSlice:
    found = paired.compare(b, a, test=test)
    return OfSlice(
        slice=name,
        rows=len(a.label),
        a=float(a.right.mean()),
        b=float(b.right.mean()),
        difference=found.difference,
        wins=found.wins,
        losses=found.losses,
    )


def _bins(rows: Rows) -> tuple[Bin, ...]:
    return tuple(
        Bin(rows=int(count), confidence=float(sure / count), right=float(hits / count))
        for count, hits, sure in zip(*metrics.bins(rows), strict=True)
        if count
    )

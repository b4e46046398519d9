"""Intervals by resampling units with replacement (Efron & Tibshirani 1993, chapter 13)."""

from collections.abc import Callable

import numpy as np

from components.artifacts import Score
from components.evaluation import metrics
from components.evaluation.metrics import Bins, Tally
from components.evaluation.rows import Rows

RESAMPLES = 2000
LEVEL = 0.95
SEED = 0
CELLS = 1 << 22
"""Most entries of one block of resampling weights: 32 MB."""
STEPS = 1 << 20
"""Confidences are summed as whole steps of this grid: such sums have no rounding, so their
bits depend neither on the order nor on the number of threads."""


def scores(rows: Rows) -> dict[str, Score]:
    """`accuracy`, `macro_f1` and `ece` with their 95 % intervals over units."""
    labels = rows.probability.shape[1]
    columns = np.concatenate([_per_label(rows, labels), _per_bin(rows)], axis=1)
    drawn = resampled_sums(columns, rows.unit)
    counts, bins = _apart(drawn, labels)
    whole, whole_bins = _apart(columns.sum(axis=0), labels)
    units = len(np.unique(rows.unit))
    return {
        "accuracy": score(metrics.accuracy(whole), metrics.accuracy(counts), units),
        "macro_f1": score(metrics.macro_f1(whole), metrics.macro_f1(counts), units),
        "ece": score(metrics.ece(whole_bins), metrics.ece(bins), units),
    }


def differences(a: Rows, b: Rows) -> tuple[dict[str, Score], list[Score]]:
    """What b has more than a, both resampled together: each metric, and F1 of each label.

    The two are answers to the same rows; so a difference is far surer than either value.
    """
    labels = a.probability.shape[1]
    columns = [
        np.concatenate([_per_label(rows, labels), _per_bin(rows)], axis=1) for rows in (a, b)
    ]
    width = columns[0].shape[1]
    both = np.concatenate(columns, axis=1)
    (old, new), (drawn_old, drawn_new) = (
        (_apart(sums[..., :width], labels), _apart(sums[..., width:], labels))
        for sums in (both.sum(axis=0), resampled_sums(both, a.unit))
    )
    units = len(np.unique(a.unit))

    def gap(metric: Callable[..., np.ndarray], part: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = metric(drawn_new[part]) - metric(drawn_old[part])
        return metric(new[part]) - metric(old[part]), drawn

    whole = {
        "accuracy": score(*gap(metrics.accuracy, 0), units, lowest=-1.0),
        "macro_f1": score(*gap(metrics.macro_f1, 0), units, lowest=-1.0),
        "ece": score(*gap(metrics.ece, 1), units, lowest=-1.0),
    }
    value, drawn = gap(metrics.f1, 0)
    return whole, [
        score(value[label], drawn[:, label], units, lowest=-1.0) for label in range(labels)
    ]


def accuracy(rows: Rows) -> Score:
    """Share of right answers with its 95 % interval over units."""
    columns = np.stack([rows.right, np.ones(len(rows.label))], axis=1)
    drawn = resampled_sums(columns, rows.unit)
    units = len(np.unique(rows.unit))
    return score(rows.right.mean(), drawn[:, 0] / drawn[:, 1], units)


def score(value: float | np.ndarray, drawn: np.ndarray, units: int, lowest: float = 0.0) -> Score:
    """A value with the percentile interval of its resamples, their median moved to the value.

    Without that move the interval of a calibration error, which resampling inflates, may lie
    wholly above the error itself. `lowest` is the least value there can be; the largest is 1.
    A share that is 0 or 1 in every row has no width here.
    """
    tail = (1 - LEVEL) / 2
    low, middle, high = np.quantile(drawn, [tail, 0.5, 1 - tail])
    shift = float(value) - middle
    return Score(
        value=float(value),
        low=max(lowest, float(low + shift)),
        high=min(1.0, float(high + shift)),
        n=units,
    )


def resampled_sums(columns: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Sums of each column over resampled units, float64 (resamples, columns).

    `columns` is (rows, columns) of whole numbers.
    """
    _, place = np.unique(unit, return_inverse=True)
    units = int(place.max()) + 1
    sums = _by_unit(columns, place, units)
    rng = np.random.default_rng(SEED)
    block = max(1, CELLS // units)
    drawn = [
        _weights(rng, min(block, RESAMPLES - start), units) @ sums
        for start in range(0, RESAMPLES, block)
    ]
    return np.concatenate(drawn)


def _by_unit(columns: np.ndarray, place: np.ndarray, units: int) -> np.ndarray:
    if units == len(place):
        sums = np.empty(columns.shape)
        sums[place] = columns
        return sums
    sums = np.zeros((units, columns.shape[1]))
    np.add.at(sums, place, columns)
    return sums


def _weights(rng: np.random.Generator, resamples: int, units: int) -> np.ndarray:
    """How often each unit is drawn in each resample, float64 (resamples, units)."""
    drawn = rng.integers(0, units, size=(resamples, units))
    drawn += np.arange(resamples)[:, None] * units
    counts = np.bincount(drawn.ravel(), minlength=resamples * units)
    return counts.reshape(resamples, units).astype(np.float64)


def _per_label(rows: Rows, labels: int) -> np.ndarray:
    columns = np.zeros((len(rows.label), 3, labels))
    every = np.arange(len(rows.label))
    columns[every, 0, rows.label] = rows.right
    columns[every, 1, rows.chosen] = 1
    columns[every, 2, rows.label] = 1
    return columns.reshape(len(every), 3 * labels)


def _per_bin(rows: Rows) -> np.ndarray:
    columns = np.zeros((len(rows.label), 3, metrics.BINS))
    every, place = np.arange(len(rows.label)), metrics.bin_of(rows)
    columns[every, 0, place] = 1
    columns[every, 1, place] = rows.right
    columns[every, 2, place] = np.round(rows.confidence * STEPS)
    return columns.reshape(len(every), 3 * metrics.BINS)


def _apart(sums: np.ndarray, labels: int) -> tuple[Tally, Bins]:
    """Sums (..., columns) as counts per label and per bin."""
    first = sums[..., : 3 * labels].reshape(*sums.shape[:-1], 3, labels)
    second = sums[..., 3 * labels :].reshape(*sums.shape[:-1], 3, metrics.BINS)
    return (
        Tally(first[..., 0, :], first[..., 1, :], first[..., 2, :]),
        Bins(second[..., 0, :], second[..., 1, :], second[..., 2, :] / STEPS),
    )

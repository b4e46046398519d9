"""What counts of right and wrong say about a model; every function also takes stacks of counts.

All metrics are functions of sums over rows. A bootstrap therefore needs only the sums of each
resample (`components.evaluation.intervals`), and the value and its interval share one formula.
"""

from typing import NamedTuple

import numpy as np

from components.evaluation.rows import Rows

BINS = 15
"""Bins of the calibration error, as in Guo et al., arXiv:1706.04599; here of equal mass."""


class Tally(NamedTuple):
    """Counts per label, each (..., labels): right answers, answers, and rows."""

    hits: np.ndarray
    chosen: np.ndarray
    rows: np.ndarray


class Bins(NamedTuple):
    """Sums per confidence bin, each (..., bins): rows, right answers, confidence."""

    rows: np.ndarray
    hits: np.ndarray
    confidence: np.ndarray


def confusion(rows: Rows) -> np.ndarray:
    """Rows by true label (axis 0) and chosen label (axis 1), int64 (labels, labels)."""
    labels = rows.probability.shape[1]
    cells = np.bincount(rows.label * labels + rows.chosen, minlength=labels * labels)
    return cells.reshape(labels, labels)


def tally(rows: Rows) -> Tally:
    """Counts per label of all rows."""
    matrix = confusion(rows)
    return Tally(np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1))


def accuracy(counts: Tally) -> np.ndarray:
    """Share of rows whose chosen label is the true one."""
    return counts.hits.sum(axis=-1) / counts.rows.sum(axis=-1)


def precision(counts: Tally) -> np.ndarray:
    """Share of right ones among the answers of each label; 0 where it was never chosen."""
    return _share(counts.hits, counts.chosen)


def recall(counts: Tally) -> np.ndarray:
    """Share of each label's rows that were found; 0 where it has none."""
    return _share(counts.hits, counts.rows)


def f1(counts: Tally) -> np.ndarray:
    """Harmonic mean of precision and recall per label; 0 where the label has neither."""
    return _share(2 * counts.hits, counts.chosen + counts.rows)


def macro_f1(counts: Tally) -> np.ndarray:
    """Mean F1 over the labels that have rows or answers, each counted once."""
    seen = (counts.chosen + counts.rows) > 0
    return f1(counts).sum(axis=-1) / seen.sum(axis=-1)


def ece(bins: Bins) -> np.ndarray:
    """Expected calibration error: mean distance of confidence from the share of right answers.

    Its smallest reachable value is above 0: bins of few rows differ by chance alone.
    """
    gaps = np.abs(bins.hits - bins.confidence).sum(axis=-1)
    return gaps / bins.rows.sum(axis=-1)


def bin_of(rows: Rows) -> np.ndarray:
    """Confidence bin of each row, int64 (rows,), 0 the least sure.

    Bins hold equally many rows, so none is judged on a handful; equal confidences share one.
    """
    cuts = np.quantile(rows.confidence, np.arange(1, BINS) / BINS, method="inverted_cdf")
    return np.searchsorted(np.unique(cuts), rows.confidence, side="left")


def bins(rows: Rows) -> Bins:
    """Sums per confidence bin of all rows."""
    place = bin_of(rows)
    return Bins(
        np.bincount(place, minlength=BINS),
        np.bincount(place, rows.right, minlength=BINS),
        np.bincount(place, rows.confidence, minlength=BINS),
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(part.shape, dtype=np.float64), where=whole > 0)

"""Whether one model is better than another on the same rows, and with what certainty."""

from typing import Literal

import numpy as np

from components.artifacts import Score
from components.evaluation.intervals import RESAMPLES, resampled_sums, score
from components.evaluation.rows import Rows
from components.records import Record


class Comparison(Record):
    """Model a beside model b on the same rows."""

    difference: Score
    """Accuracy of a minus accuracy of b."""
    p_value: float
    """How often chance alone shows a this far ahead where it is not ahead of -margin."""
    wins: int
    """Rows that only a answers rightly."""
    losses: int


def compare(
    a: Rows, b: Rows, *, test: Literal["mcnemar", "bootstrap"], margin: float = 0.0
) -> Comparison:
    """One-sided test: is a better than b, or, with a margin, not worse than b by that much.

    `mcnemar` is for units of one row each: exact without a margin, Tango's score test with one.
    `bootstrap` resamples units.

    Raises:
        ValueError: not the same rows, a negative margin, or units that the test cannot take.
    """
    _check(a, b, margin)
    ahead = a.right.astype(np.int64) - b.right.astype(np.int64)
    columns = np.stack([ahead, np.ones_like(ahead)], axis=1)
    sums = resampled_sums(columns, a.unit)
    drawn = sums[:, 0] / sums[:, 1]
    units = len(np.unique(a.unit))
    wins, losses = int((ahead > 0).sum()), int((ahead < 0).sum())
    if test == "bootstrap":
        p_value = (1 + int((drawn <= -margin).sum())) / (1 + RESAMPLES)
    elif units != len(ahead):
        raise ValueError("McNemar's test takes independent rows; these share units: use bootstrap")
    elif margin:
        p_value = noninferiority(wins, losses, len(ahead), margin)
    else:
        p_value = mcnemar(wins, losses)
    return Comparison(
        difference=score(ahead.mean(), drawn, units, lowest=-1.0),
        p_value=p_value,
        wins=wins,
        losses=losses,
    )


def mcnemar(wins: int, losses: int) -> float:
    """Exact one-sided p: so many wins or more among the rows on which one of two equals is right.

    Source: McNemar 1947, in its exact binomial form.
    """
    from scipy.special import bdtrc

    return float(bdtrc(wins - 1, wins + losses, 0.5)) if wins + losses else 1.0


def mcnemar_two_sided(wins: int, losses: int) -> float:
    """Exact two-sided p: a split at least as uneven, in either direction, between two equals."""
    return min(1.0, 2 * mcnemar(max(wins, losses), min(wins, losses)))


def noninferiority(wins: int, losses: int, rows: int, margin: float) -> float:
    """One-sided p against "worse by the margin or more", for paired shares.

    The score test of Tango 1998 (Statistics in Medicine 17:891), equation 5: its standard error
    is taken where the difference equals the margin, so it holds when the models never disagree.
    """
    from scipy.special import ndtr

    limit = -margin
    first = 2 * rows
    second = -wins - losses + (2 * rows - wins + losses) * limit
    third = -losses * limit * (1 - limit)
    share = (np.sqrt(second**2 - 4 * first * third) - second) / (2 * first)
    spread = np.sqrt(rows * (2 * share + limit * (1 - limit)))
    return float(ndtr(-(wins - losses - rows * limit) / spread))


def _check(a: Rows, b: Rows, margin: float) -> None:
    if not 0 <= margin < 1:
        raise ValueError(f"a margin is a share from 0 to 1, not {margin}")
    if not (np.array_equal(a.label, b.label) and np.array_equal(a.unit, b.unit)):
        raise ValueError(
            f"the two models did not answer the same rows ({len(a.label)} and {len(b.label)})"
        )

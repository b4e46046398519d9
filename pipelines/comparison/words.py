"""The words that screen and page share."""

from typing import Any

from components.artifacts import Score
from components.evaluation.contrast import Contrast

BLUR = 0.1
"""Times of one graph differ by so much from one moment to the next."""

FINDINGS = {
    "better": "B is better",
    "worse": "B is WORSE",
    "not worse": "B is not worse by {margin}; whether it is better, chance may decide",
    "undecided": "undecided: chance explains the difference",
}


def finding(found: Contrast) -> str:
    """What the gate's test shows, in words with its numbers."""
    of = found.paired
    if not of.wins and not of.losses:
        return "the two answer rightly on the very same rows"
    said = FINDINGS[of.finding].format(margin=f"{100 * of.margin:g} point")
    p_value, question = {
        "worse": (of.p_worse, "A better than B"),
        "not worse": (of.p_not_worse, f"not worse by {of.margin:g}"),
    }.get(of.finding, (of.p_better, "B better than A"))
    name = "exact McNemar" if of.test == "mcnemar" else "bootstrap over units"
    if of.test == "mcnemar" and of.finding == "not worse":
        name = "Tango's score test"
    return f"{said} ({question}: one-sided p = {p_value:.3g}, {name})"


def points(gap: Score) -> str:
    """A difference with its interval, in points."""
    return f"{100 * gap.value:+.2f} [{100 * gap.low:+.2f}, {100 * gap.high:+.2f}]"


def times(ratio: float, better: str, worse: str, blur: float = 0.005) -> str:
    """`2.1x smaller`, or `1.3x larger`; within the blur of a measurement the same."""
    if abs(ratio - 1) <= blur:
        return "the same"
    return f"{ratio:.2f}x {better}" if ratio > 1 else f"{1 / ratio:.2f}x {worse}"


def faster(ratio: float) -> str:
    """The same of processor times."""
    return times(ratio, "faster", "slower", BLUR)


def shown(value: Any) -> str:
    """A leaf of a config, short; a digest by its first letters."""
    if value is None:
        return "-"
    text = str(value)
    if len(text) >= 32 and all(c in "0123456789abcdef" for c in text.removesuffix(".dir")):
        return text[:12]
    return text if len(text) <= 40 else f"{text[:37]}..."

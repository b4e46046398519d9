"""Small pictures for the page, as SVG: no script, no request."""

from collections.abc import Iterable

from components.artifacts import Score
from components.evaluation.contrast import Bin

WIDE, HIGH = 160, 18
SQUARE, EDGE = 270, 42


def span(gaps: Iterable[Score]) -> float:
    """How far the intervals reach from zero; at least a point."""
    return max([0.01, *(max(abs(gap.low), abs(gap.high)) for gap in gaps)])


def interval(gap: Score, reach: float) -> str:
    """A difference as a dot with its interval, zero in the middle."""

    def place(value: float) -> float:
        return round(WIDE / 2 + value / reach * (WIDE / 2 - 6), 1)

    kind = "good" if gap.low > 0 else "bad" if gap.high < 0 else "open"
    middle = HIGH / 2
    return (
        f"<svg class='interval {kind}' viewBox='0 0 {WIDE} {HIGH}' role=img "
        f"aria-label='{100 * gap.low:+.2f} to {100 * gap.high:+.2f} points'>"
        f"<line class=zero x1={WIDE / 2} x2={WIDE / 2} y1=0 y2={HIGH} />"
        f"<line x1={place(gap.low)} x2={place(gap.high)} y1={middle} y2={middle} />"
        f"<circle cx={place(gap.value)} cy={middle} r=4 /></svg>"
    )


def reliability(a: Iterable[Bin], b: Iterable[Bin]) -> str:
    """Share of right answers over confidence, both models, with the diagonal."""
    lines = [_line(tuple(bins), side) for bins, side in ((a, "a"), (b, "b"))]
    ticks = "".join(
        f"<text x={_x(at)} y={SQUARE - EDGE + 18} text-anchor=middle>{at:g}</text>"
        f"<text x={EDGE - 6} y={_y(at) + 4} text-anchor=end>{at:g}</text>"
        for at in (0, 0.5, 1)
    )
    return (
        f"<svg class=reliability viewBox='0 0 {SQUARE} {SQUARE}' role=img "
        "aria-label='share of right answers over confidence'>"
        f"<rect x={_x(0)} y={_y(1)} width={_x(1) - _x(0)} height={_y(0) - _y(1)} />"
        f"<line class=diagonal x1={_x(0)} y1={_y(0)} x2={_x(1)} y2={_y(1)} />{ticks}"
        f"<text x={_x(0.5)} y={SQUARE - 1} text-anchor=middle>confidence</text>"
        f"<text x={-_y(0.5)} y=9 text-anchor=middle transform='rotate(-90)'>right</text>"
        f"{''.join(lines)}</svg>"
    )


def _line(bins: tuple[Bin, ...], side: str) -> str:
    places = [(_x(one.confidence), _y(one.right)) for one in bins]
    path = " ".join(f"{x},{y}" for x, y in places)
    dots = "".join(f"<circle cx={x} cy={y} r=3 />" for x, y in places)
    return f"<g class={side}><polyline points='{path}' />{dots}</g>"


def _x(value: float) -> float:
    return round(EDGE + value * (SQUARE - EDGE - 12), 1)


def _y(value: float) -> float:
    return round(SQUARE - EDGE - value * (SQUARE - EDGE - 12), 1)

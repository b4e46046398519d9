"""The words that screen and page share, and the screen itself."""

from collections.abc import Iterator
from typing import Any

from pipelines.comparison.records import ratios
from pipelines.comparison.words import faster, finding, points, times
from pipelines.retraining.records import DataChange, Retrained

MOVED = "{} of the champion's test rows became training or validation rows"


def headline(found: Retrained) -> str:
    """What became of it, in one sentence."""
    name, version = found.name, found.version
    from_champion = f", beside v{found.started_from}" if found.started_from is not None else ""
    if found.outcome == "same data":
        return f"{name}: the data are the champion's (v{found.champion}): nothing to retrain"
    said = {
        "promoted": f"v{version} passed the gate{from_champion} and is the champion",
        "refused": f"v{version} did not pass the gate{from_champion}; v{found.champion} stays",
        "unchanged": f"v{version} was decided before; the champion is v{found.champion}",
    }
    return f"{name}: {said[found.outcome]}"


def rows(one: DataChange) -> list[list[str]]:
    """Cells of the table of splits."""
    return [
        [part.split, _count(part.before), _count(part.now), _count(part.new)] for part in one.rows
    ]


def labels(one: DataChange) -> list[list[str]]:
    """Cells of the table of labels: rows and their share."""
    names = sorted({label for counts in one.labels.values() for label in counts})
    parts = [(counts, sum(counts.values())) for counts in one.labels.values()]
    return [
        [name, *(_share(counts.get(name, 0), whole) for counts, whole in parts)] for name in names
    ]


def text(found: Retrained) -> str:
    """The report on one screen."""
    return "\n".join(_lines(found)) + "\n"


def document(found: Retrained) -> dict[str, Any]:
    """The document of `athanor retrain --json`."""
    value = found.model_dump(mode="json", exclude={"compared"})
    value["comparison"] = None
    if found.compared is not None:
        of = found.compared.contrast
        gap = of.metrics["accuracy"].difference
        value["comparison"] = {
            "rows": of.rows,
            "finding": finding(of),
            "difference": {"value": gap.value, "low": gap.low, "high": gap.high},
            "wins": of.paired.wins,
            "losses": of.paired.losses,
            "ratios": ratios(found.compared),
        }
    return value


def _lines(found: Retrained) -> Iterator[str]:
    yield headline(found)
    yield f"reason     {found.reason}"
    for note in found.notes:
        yield f"note       {note}"
    for one in found.data:
        yield from _data(one)
    yield from _compared(found)
    for check in found.checks:
        yield f"gate       {'✓' if check['passed'] else '✗'} {check['rule']}   {check['observed']}"
    for choice in found.choices:
        yield f"to {choice.text}:"
        yield f"  {choice.command}"
    if found.file:
        logged = f", {found.page} of {found.name}/{found.version} in MLflow" if found.page else ""
        yield f"page       {found.file}{logged}"


def _data(one: DataChange) -> Iterator[str]:
    before = (one.before or "nothing")[:12]
    same = "as it was" if one.before == one.after else f"was {before}"
    yield f"data       {one.name} {one.after[:12]}, {same}"
    if one.before != one.after:
        for part in one.rows:
            new = "" if part.new is None else f", {part.new:,} new"
            was = "" if part.before is None else f", was {part.before:,}"
            yield f"           {part.split:<6} {part.now:,}{was}{new}"
    if one.moved is not None:
        yield f"           {MOVED.format(one.moved)}"
    for said in one.drift:
        yield f"           {said}"


def _compared(found: Retrained) -> Iterator[str]:
    if found.compared is None:
        return
    of, a, b = found.compared.contrast, found.compared.a, found.compared.b
    ratio = ratios(found.compared)
    accuracy = of.metrics["accuracy"]
    yield f"compared   {finding(of)}"
    yield (
        f"           {of.rows:,} test rows: {b.title} {accuracy.b.value:.4f}, {a.title} "
        f"{accuracy.a.value:.4f}, difference {points(accuracy.difference)} points"
    )
    yield f"           rows won {of.paired.wins:,}, rows lost {of.paired.losses:,}"
    yield (
        f"           {b.size_bytes / 1e6:.2f} MB, {times(ratio['size'], 'smaller', 'larger')}; "
        f"one row {b.cpu_ms.batch_1:.3f} ms, {faster(ratio['batch_1'])}"
    )


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _share(count: int, whole: int) -> str:
    return f"{count:,} ({count / whole:.1%})" if whole else "0"

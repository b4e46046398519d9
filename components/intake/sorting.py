"""Which of the arrived rows come in, and into which split: no old row moves, none leaks."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from components.intake.arrived import Row
from components.records import Record

SHOWN_CHARACTERS = 80


class LeftOut(Record):
    """A row that does not come in, and why."""

    place: str
    reason: str
    text: str


class Known(NamedTuple):
    """A row that the data set has or is about to have."""

    split: str
    id: str
    text: str
    label: str


class Sorted(NamedTuple):
    """The arrived rows, each in one of three places."""

    added: dict[str, list[Row]]
    """Split -> its new rows, in the order of their arrival."""
    repeated: int
    """Rows that say with the same label what another row says already."""
    left_out: tuple[LeftOut, ...]


def sort(arrived: Iterable[Row], before: Sequence[Known]) -> Sorted:
    """Each row to its split by what it says.

    Left out are rows that contradict the label of an equal one, that take the id of another text,
    and that are nearly a row of another split.
    """
    known = {one.text: one for one in before}
    ids = {one.id: one for one in before}
    repeated, left_out, fresh = 0, [], []
    for row in arrived:
        twin, namesake = known.get(row.said), ids.get(row.id)
        if twin is not None and twin.label == row.label:
            repeated += 1
        elif twin is not None:
            why = f"{twin.split} {twin.id} says the same and is {twin.label}, this is {row.label}"
            left_out.append(_left_out(row, why))
        elif namesake is not None:
            why = f"its id {row.id} is that of another row of {namesake.split}"
            left_out.append(_left_out(row, why))
        else:
            mine = Known(row.split, row.id, row.said, row.label)
            known[row.said] = ids[row.id] = mine
            fresh.append(row)
    leaks = _leaks(fresh, before)
    added: dict[str, list[Row]] = {}
    for row in fresh:
        if row.id in leaks:
            left_out.append(_left_out(row, leaks[row.id]))
        else:
            added.setdefault(row.split, []).append(row)
    return Sorted(added, repeated, tuple(left_out))


def _leaks(fresh: Sequence[Row], before: Sequence[Known]) -> dict[str, str]:
    """Rows that are nearly one of another split, by id: what they are like.

    Of two new ones that are nearly the same the later one is left out.
    """
    from components.intake import likeness

    found: dict[str, str] = {}
    mine = [Known(row.split, row.id, row.said, row.label) for row in fresh]
    for split in sorted({one.split for one in mine}):
        rows = [(row, one) for row, one in zip(fresh, mine, strict=True) if one.split == split]
        others = [one for one in before if one.split != split]
        others += [one for one in mine if one.split != split and one.split < split]
        places = likeness.nearest([one.text for _, one in rows], [one.text for one in others])
        for (row, _), at in zip(rows, places, strict=True):
            if at is not None:
                twin = others[at]
                found[row.id] = f"it would be a row of {split} and is nearly {twin.split} {twin.id}"
    return found


def _left_out(row: Row, reason: str) -> LeftOut:
    return LeftOut(place=row.place, reason=reason, text=row.text[:SHOWN_CHARACTERS])

"""A name's history as a chain: each entry holds the sha256 of the one before and its own.

Pure functions of what was read. What they find is named by entry; a chain that can be believed
has nothing to be found.
"""

import getpass
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from components import files
from components.records import Record

What = Literal[
    "registered",
    "judged",
    "promoted",
    "refused",
    "rolled back",
    "forced",
    "archived",
    "accepted",
]

MOVES = ("promoted", "forced", "rolled back", "accepted")
"""After one of these the champion is the entry's version."""

Kind = Literal["edited", "removed", "reordered", "replayed", "truncated", "added", "moved"]


class Draft(Record):
    """What somebody wants to write; the ledger adds number, time and hashes."""

    event: What
    version: int | None
    """The version that the entry is about; of `accepted` the champion, which may be none."""
    previous: int | None = None
    """The champion before it, where the alias was to move."""
    why: str = ""
    evidence: dict[str, Any] = {}
    """Digests, p-value, run id: what the entry rests on."""
    who: str
    """user@host of the process, as the operating system names it."""


class Event(Record):
    """One entry of a name's history."""

    name: str
    number: int
    """From 1 on."""
    at: str
    """UTC, ISO 8601; never before that of an earlier entry."""
    who: str
    event: str
    version: int | None
    previous: int | None = None
    why: str = ""
    evidence: dict[str, Any] = {}
    before: str = ""
    """sha256 of the entry before; empty for the first."""
    sha256: str = ""
    """Of all the rest as canonical JSON."""


class Anchor(NamedTuple):
    """The head of a chain as it is remembered outside of the chain."""

    where: str
    number: int
    sha256: str
    exact: bool = False
    """Written with every entry: there can be none after it."""


class State(NamedTuple):
    """A name's ledger and registry as they were at one moment."""

    events: tuple[Event, ...]
    anchor: Anchor | None
    """The one that is written with every entry."""
    champion: int | None
    """What the alias names."""


class Finding(Record):
    """One thing that is not as Athanor wrote it."""

    entry: int
    """Number of the entry where it shows."""
    kind: Kind
    text: str
    marks: tuple[str, ...]
    """What exactly was seen; an `accepted` entry repeats them."""


def sealed(name: str, state: State, draft: Draft, now: datetime) -> Event:
    """The draft as the next entry.

    It follows the anchor where that remembers more than the chain shows: what was cut off or
    rewritten stays visible below it. An `accepted` entry about the end follows what is there.
    """
    last = state.events[-1] if state.events else None
    number, before = (last.number, last.sha256) if last else (0, "")
    if state.anchor is not None:
        end = min(number, state.anchor.number)
        if draft.event != "accepted" or draft.evidence.get("entry", 0) < end:
            before = state.anchor.sha256
        number = max(number, state.anchor.number)
    stamp = now.isoformat(timespec="milliseconds")
    if last is not None and content_digest(last) == last.sha256:
        stamp = max(stamp, last.at)  # a clock that was set back
    event = Event(
        name=name, number=number + 1, at=stamp, before=before, **draft.model_dump(mode="json")
    )
    return event.model_copy(update={"sha256": content_digest(event)})


def content_digest(event: Event) -> str:
    """sha256 of an entry without the field that holds it."""
    content = event.model_dump(mode="json", exclude={"sha256"})
    return hashlib.sha256(files.canonical(content)).hexdigest()


def read(row: dict[str, Any]) -> Event:
    """An entry from stored fields; what is no entry any more is read as one that is not sealed."""
    try:
        evidence = row["evidence"]
        parsed = json.loads(evidence) if isinstance(evidence, str) else evidence
        return Event.model_validate({**row, "evidence": parsed})
    except (KeyError, ValueError, ValidationError):
        number = row.get("number")
        return Event(
            name=str(row.get("name")),
            number=number if isinstance(number, int) else 0,
            at=str(row.get("at")),
            who=str(row.get("who")),
            event="unreadable",
            version=None,
            why=str(row)[:500],
            before=str(row.get("before")),
            sha256=str(row.get("sha256")),
        )


def champion(events: tuple[Event, ...]) -> int | None:
    """The version that the chain says the alias names."""
    moves = [event for event in events if event.event in MOVES]
    return moves[-1].version if moves else None


def rolled_back(events: tuple[Event, ...], version: int) -> bool:
    """Whether this version was taken back and nobody has put it in place by hand since."""
    states = [
        event.event == "rolled back"
        for event in events
        if (event.event == "rolled back" and event.previous == version)
        or (event.event in ("forced", "promoted") and event.version == version)
    ]
    return bool(states) and states[-1]


def findings(state: State, *more: Anchor) -> tuple[Finding, ...]:
    """Everything that is not as Athanor wrote it and that nobody has accepted."""
    anchors = (state.anchor, *more) if state.anchor else more
    events = state.events
    own = tuple(_contents(events))
    wrong = {finding.entry for finding in own}
    found = [*own, *_links(events, wrong), *_heads(events, anchors, wrong)]
    if events and state.anchor is None:
        text = "the registry's own note of the last entry is gone"
        found.append(_finding(events[-1].number, "edited", text, "no anchor"))
    found += _moved(state)
    accepted = _accepted(events, wrong)
    told: dict[tuple[int, str], Finding] = {}
    for finding in found:
        if not set(finding.marks) <= accepted:
            first = told.setdefault((finding.entry, finding.kind), finding)
            marks = tuple(dict.fromkeys(first.marks + finding.marks))
            told[finding.entry, finding.kind] = first.model_copy(update={"marks": marks})
    return tuple(sorted(told.values(), key=lambda finding: finding.entry))


def _contents(events: tuple[Event, ...]) -> Iterator[Finding]:
    """Entries that are missing, out of place, or do not hold what their sha256 says."""
    for first, last in _gaps(sorted({event.number for event in events})):
        gone = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        marks = tuple(_mark("removed", number) for number in range(first, last + 1))
        yield Finding(entry=first, kind="removed", text=f"{gone} gone", marks=marks)
    highest = 0
    seen: dict[str, int] = {}
    for event in events:
        origin = _origin(event, len(events) + 1)
        if event.sha256 in seen:
            text = f"entry {event.number} is a copy of entry {seen[event.sha256]}"
            yield _finding(event.number, "replayed", text, event.sha256)
        elif origin != event.number and origin is not None:
            twice = sum(other.sha256 == event.sha256 for other in events) > 1
            text = f"entry {event.number} was written as entry {origin}"
            yield _finding(event.number, "replayed" if twice else "reordered", text, event.sha256)
        elif origin is None:
            text = f"entry {event.number} ({_shown(event)}) is not what was written"
            yield _finding(event.number, "edited", text, content_digest(event), event.sha256)
        elif event.number < highest:
            text = f"entry {event.number} stands after entry {highest}"
            yield _finding(event.number, "reordered", text, event.sha256)
        highest = max(highest, event.number)
        seen.setdefault(event.sha256, event.number)


def _gaps(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of the numbers that are missing between others."""
    for before, after in pairwise([0, *numbers]):
        if after > before + 1:
            yield before + 1, after - 1


def _origin(event: Event, most: int) -> int | None:
    """The number under which the entry's sha256 is right; None where no number makes it so."""
    for number in (event.number, *range(1, most + 1)):
        if content_digest(event.model_copy(update={"number": number})) == event.sha256:
            return number
    return None


def _links(events: tuple[Event, ...], wrong: set[int]) -> Iterator[Finding]:
    """Entries that were changed together with their sha256: the next one remembers the old."""
    ordered = sorted(events, key=lambda event: event.number)
    first = ordered[:1]
    if first and first[0].number == 1 and first[0].before and 1 not in wrong:
        yield _finding(1, "edited", "entry 1 names an entry before it", first[0].sha256)
    for earlier, later in pairwise(ordered):
        follows = later.number == earlier.number + 1 and later.before != earlier.sha256
        if follows and not {earlier.number, later.number} & wrong:
            text = (
                f"entry {earlier.number} ({_shown(earlier)}) is not what was written: "
                f"entry {later.number} remembers another"
            )
            yield _finding(earlier.number, "edited", text, earlier.sha256, later.sha256)


def _heads(
    events: tuple[Event, ...], anchors: tuple[Anchor, ...], wrong: set[int]
) -> Iterator[Finding]:
    """What only a memory outside of the chain can show: its end cut off, or all of it rewritten."""
    by_number = {event.number: event for event in events}
    last = max(by_number, default=0)
    for anchor in anchors:
        there = by_number.get(anchor.number)
        if anchor.number > last:
            gone = range(last + 1, anchor.number + 1)
            text = (
                f"the end is cut off: the last entry is {last}, {anchor.where} remembers "
                f"entry {anchor.number}"
            )
            marks = tuple(_mark("removed", number) for number in gone)
            yield Finding(entry=last + 1, kind="truncated", text=text, marks=marks)
        elif there is not None and there.sha256 != anchor.sha256 and there.number not in wrong:
            text = (
                f"entry {anchor.number} ({_shown(there)}), or one before it, is not what was "
                f"written: {anchor.where} remembers another"
            )
            yield _finding(anchor.number, "edited", text, anchor.sha256, there.sha256)
        if anchor.exact and anchor.number < last:
            text = f"Athanor wrote nothing after entry {anchor.number}, says {anchor.where}"
            yield _finding(anchor.number + 1, "added", text, by_number[last].sha256)


def _moved(state: State) -> Iterator[Finding]:
    """An alias that names another version than the chain says."""
    told = champion(state.events)
    if told != state.champion:
        moves = [event.number for event in state.events if event.event in MOVES]
        entry = moves[-1] if moves else 0
        says = f"entry {entry}" if moves else "the history"
        text = (
            f"the alias champion names {version_text(state.champion)}, {says} says "
            f"{version_text(told)}: it was moved past the gate"
        )
        yield _finding(entry, "moved", text, str(state.champion), str(len(state.events)))


def _accepted(events: tuple[Event, ...], wrong: set[int]) -> set[str]:
    """Marks of what a person accepted with a reason."""
    return {
        mark
        for event in events
        if event.event == "accepted" and event.number not in wrong
        for mark in event.evidence.get("marks", ())
    }


def _finding(entry: int, kind: Kind, text: str, *seen: str) -> Finding:
    return Finding(entry=entry, kind=kind, text=text, marks=(_mark(kind, entry, *seen),))


def _mark(kind: str, entry: int, *seen: str) -> str:
    return ":".join((kind, str(entry), *(one[:16] for one in seen)))


def _shown(event: Event) -> str:
    return f"{event.event} {version_text(event.version)}"


def version_text(version: int | None) -> str:
    """`v3`, or `none`."""
    return "none" if version is None else f"v{version}"


def who() -> str:
    """user@host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"

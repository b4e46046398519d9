"""`athanor models | promote | rollback | history`: what the registry holds, and who moved what."""

from datetime import datetime, time
from typing import Any

from components import history as ledger
from components import registry
from components.artifacts import Promotion
from components.errors import UsageError
from components.history import Event, Finding
from components.history.chain import version_text
from components.history.place import NOT_ATOMIC
from components.records import Record


class Model(Record):
    """One registered name."""

    name: str
    versions: tuple[int, ...]
    champion: int | None


def models() -> tuple[Model, ...]:
    """Every registered name with its versions and champion."""
    found = []
    for name in registry.names():
        versions = registry.versions(name)
        champion = next((v.version for v in versions if registry.CHAMPION in v.aliases), None)
        found.append(
            Model(name=name, versions=tuple(v.version for v in versions), champion=champion)
        )
    return tuple(found)


def models_document(found: tuple[Model, ...]) -> dict[str, Any]:
    """The document of `athanor models --json`."""
    return {"models": [model.model_dump(mode="json") for model in found]}


def models_text(found: tuple[Model, ...]) -> str:
    """One line a name."""
    if not found:
        return "no model is registered yet\n  -> athanor run configs/quickstart.yaml"
    lines = [f"{'name':<28} {'champion':<10} versions"]
    for model in found:
        champion = f"v{model.champion}" if model.champion else "none"
        versions = ", ".join(f"v{number}" for number in model.versions)
        lines.append(f"{model.name:<28} {champion:<10} {versions}")
    return "\n".join(lines)


def promote(
    name: str, version: int, force: bool, reason: str, allow_unsigned: bool = False
) -> Promotion:
    """Make a version the champion: with a passed decision, or by force with a reason.

    Raises:
        UsageError: no such version, no passed decision, or no reason.
        IntegrityError: its files are damaged, or no trusted key signed it.
    """
    from components.registry import moving

    if force:
        return moving.force(name, version, reason, allow_unsigned=allow_unsigned)
    return moving.put(name, version, reason, allow_unsigned=allow_unsigned)


def rollback(name: str, reason: str, to: int | None = None) -> Promotion:
    """Put the champion before this one, or a named earlier one, back."""
    from components.registry import moving

    return moving.rollback(name, reason, to)


def moved_text(moved: Promotion) -> str:
    """One line: from, to, why; a second one where the move was no transaction."""
    before = f"v{moved.previous}" if moved.previous else "none"
    if not moved.moved:
        return f"{moved.name}: champion stays v{moved.version} ({moved.reason})"
    line = f"{moved.name}: champion {before} -> v{moved.version} ({moved.reason})"
    return line if moved.atomic else f"{line}\n{NOT_ATOMIC}"


class Held(Record):
    """Who was champion at a moment, and the entry that had made it so."""

    name: str
    at: str
    champion: int | None
    entry: Event | None


class Verified(Record):
    """What became of looking through a name's history."""

    name: str
    entries: int
    sha256: str
    """Of the last entry; who noted it elsewhere can compare."""
    champion: int | None
    atomic: bool
    findings: tuple[Finding, ...]


def history(name: str) -> tuple[Event, ...]:
    """Every event of a name, oldest first.

    Raises:
        UsageError: nothing is known of this name.
    """
    events = ledger.history(name)
    if not events:
        registry.known(name)
    return events


def history_document(events: tuple[Event, ...]) -> dict[str, Any]:
    """The document of `athanor history --json`."""
    return {"events": [event.model_dump(mode="json") for event in events]}


def history_text(events: tuple[Event, ...]) -> str:
    """One line an event."""
    lines = []
    for event in events:
        moved = event.previous is not None and event.previous != event.version
        before = f"v{event.previous} -> " if moved else ""
        lines.append(
            f"{event.number:>3}  {event.at[:19]}Z  {event.event:<12} "
            f"{before}{version_text(event.version)}  {event.who}  {event.why}"
        )
    return "\n".join(lines)


def held(name: str, moment: str) -> Held:
    """Who was champion at a date (its end) or time; without a zone that of this machine.

    Raises:
        UsageError: it is no date or time, or not past; or nothing is known of the name.
    """
    when = _moment(moment)
    entry = ledger.at(history(name), when)
    champion = entry.version if entry else None
    return Held(name=name, at=when.isoformat(), champion=champion, entry=entry)


def held_text(found: Held) -> str:
    """One line, with the time and its zone."""
    when = datetime.fromisoformat(found.at)
    shown = f"{found.name} at {when:%Y-%m-%d %H:%M:%S} {when:%Z}"
    if found.entry is None:
        return f"{shown}: no champion yet"
    since = datetime.fromisoformat(found.entry.at).astimezone(when.tzinfo)
    return (
        f"{shown}: champion {version_text(found.champion)}, since {since:%Y-%m-%d %H:%M:%S} "
        f"(entry {found.entry.number}, {found.entry.event} by {found.entry.who}: "
        f"{found.entry.why})"
    )


def verify(name: str) -> Verified:
    """Look through a name's history.

    Raises:
        UsageError: nothing is known of this name.
    """
    state, found = ledger.verify(name)
    if not state.events and not found:
        registry.known(name)
    return Verified(
        name=name,
        entries=len(state.events),
        sha256=state.events[-1].sha256 if state.events else "",
        champion=state.champion,
        atomic=ledger.ledger().atomic,
        findings=found,
    )


def verified_text(found: Verified) -> str:
    """What was found, each with the command that accepts it."""
    if not found.findings:
        kept = "" if found.atomic else f"\n{NOT_ATOMIC}"
        return (
            f"{found.name}: {found.entries} entries as they were written, champion "
            f"{version_text(found.champion)}, head {found.sha256[:16]}{kept}"
        )
    lines = [f"{found.name}: not as it was written; nothing is promoted until it is accepted"]
    for finding in found.findings:
        lines.append(f"entry {finding.entry}  {finding.kind:<9}  {finding.text}")
    for entry in sorted({finding.entry for finding in found.findings}):
        lines.append(f"  -> athanor history {found.name} --accept {entry} --reason TEXT")
    return "\n".join(lines)


def accept(name: str, entry: int, reason: str) -> tuple[Event, ...]:
    """Accept what is found at an entry; gives the entry that says so.

    Raises:
        UsageError: nothing is wrong there, or no reason is given.
    """
    return (ledger.accept(name, entry, reason),)


def _moment(text: str) -> datetime:
    """A date's last moment so far, or a time."""
    try:
        when = datetime.fromisoformat(text)
        if len(text) <= len("2026-03-03"):
            when = datetime.combine(when.date(), time.max)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no date or time", "write 2026-03-03 or 2026-03-03T14:30+01:00"
        ) from error
    when = when if when.tzinfo else when.astimezone()
    now = datetime.now(when.tzinfo)
    if when.date() > now.date():
        raise UsageError(f"{text} is still to come", "name a day up to today")
    return min(when, now)

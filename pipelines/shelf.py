"""`athanor models | promote | rollback | history`: what the registry holds, and who moved what."""

from typing import Any

from components import history as ledger
from components import registry
from components.artifacts import Promotion
from components.errors import UsageError
from components.history import Event
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
    registry.resolve(f"{name}/{version}")
    passed = [
        event
        for event in ledger.history(name)
        if event.version == version and event.event in ("judged", "promoted")
    ]
    if not passed:
        raise UsageError(
            f"{name} v{version} has no passed verdict",
            f"athanor promote {name} {version} --force --reason '...'  overrules, and is recorded",
        )
    why = reason or "put back by hand; its verdict had passed"
    return moving.force(name, version, why, allow_unsigned=allow_unsigned)


def rollback(name: str, reason: str) -> Promotion:
    """Put the champion before this one back."""
    from components.registry import moving

    return moving.rollback(name, reason)


def moved_text(moved: Promotion) -> str:
    """One line: from, to, why."""
    before = f"v{moved.previous}" if moved.previous else "none"
    if not moved.moved:
        return f"{moved.name}: champion stays v{moved.version} ({moved.reason})"
    return f"{moved.name}: champion {before} -> v{moved.version} ({moved.reason})"


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
        before = f"v{event.previous} -> " if event.previous else ""
        lines.append(
            f"{event.at[:19]}  {event.event:<12} {before}v{event.version}  {event.who}  {event.why}"
        )
    return "\n".join(lines)

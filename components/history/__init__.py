"""What became of each version of a model: an append-only chain of entries per name.

One fact in one place: the table beside the registry's own, written together with the alias. Only
on a server of somebody else's it is a file in the home. The head of each chain is remembered in
this home too, so that a chain that was cut off or rewritten as a whole is found.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from components import files, mlflow_store, project
from components.errors import IntegrityError, UsageError
from components.history import chain
from components.history.chain import MOVES, Anchor, Draft, Event, Finding, State, What, champion
from components.history.place import Ledger, refuse

__all__ = ["MOVES", "Event", "Finding", "What", "champion"]

HERE = "this home"


def ledger() -> Ledger:
    """The ledger of the registry that this process works with.

    Raises:
        ServiceUnreachable: the server does not answer.
    """
    uri = mlflow_store.tracking_uri()
    if uri.startswith(("http://", "https://")):
        from components.history import foreign, server

        return server.find(uri) or foreign.Foreign(uri)
    from components.history import database

    return database.Database(uri)


def record(name: str, event: What, version: int, **facts: Any) -> Event:
    """Append an entry that moves nothing, on the disk before this returns.

    `facts` are the remaining fields of a Draft.
    """
    there = ledger()
    written = there.append(name, _draft(event, version, facts))
    remember(there, name)
    return written


def record_once(name: str, event: What, version: int, **facts: Any) -> None:
    """The same, unless an entry says so already.

    Whoever wrote that was killed then, or never heard that it was written.
    """
    draft = _draft(event, version, facts).model_dump(mode="json", exclude={"who"})
    told = [each.model_dump(mode="json", include=set(draft)) for each in history(name)]
    if draft not in told:
        record(name, event, version, **facts)


def history(name: str) -> tuple[Event, ...]:
    """Every entry of a name, oldest first, as it reads; `verify` says whether to believe it."""
    return ledger().read(name).events


def names() -> tuple[str, ...]:
    """Every name of which this home remembers a last entry."""
    return tuple(sorted(path.stem for path in (project.home() / "history").glob("*.json")))


def rolled_back(name: str, version: int) -> bool:
    """Whether this version was taken back and nobody has put it in place by hand since."""
    return chain.rolled_back(history(name), version)


def verify(name: str) -> tuple[State, tuple[Finding, ...]]:
    """A name's ledger, and everything about it that is not as Athanor wrote it."""
    there = ledger()
    state = there.read(name)
    found = chain.findings(state, *_remembered(there, name))
    if not found:
        _remember(there, name, state)
    return state, found


def whole(there: Ledger, name: str) -> State:
    """A name's ledger that can be believed.

    Raises:
        IntegrityError: something is not as Athanor wrote it, and nobody has accepted it.
    """
    state = there.read(name)
    refuse(name, chain.findings(state, *_remembered(there, name)))
    return state


def move(there: Ledger, name: str, event: What, version: int, **facts: Any) -> Event:
    """Write an entry and move the alias with it, if that names `previous`.

    Raises:
        NotMoved, IntegrityError, UsageError: as `place.Ledger.move`.
    """
    by_hand = event != "promoted" or facts.get("evidence", {}).get("by") == "hand"
    written = there.move(name, _draft(event, version, facts), facts["previous"], by_hand)
    remember(there, name)
    return written


def accept(name: str, entry: int, reason: str) -> Event:
    """Write that what `verify` finds at an entry is as it should be, because a person says so.

    Raises:
        UsageError: nothing is found there, or no reason is given.
    """
    if not reason.strip():
        raise UsageError("to accept what should not be needs a reason", "add --reason TEXT")
    there = ledger()
    state = there.read(name)
    found = chain.findings(state, *_remembered(there, name))
    here = [finding for finding in found if finding.entry == entry]
    if not here:
        others = ", ".join(sorted({str(finding.entry) for finding in found})) or "none"
        raise UsageError(
            f"nothing is wrong at entry {entry} of {name}", f"entries with a finding: {others}"
        )
    told = champion(state.events)
    now = state.champion if any(finding.kind == "moved" for finding in here) else told
    evidence = {
        "entry": entry,
        "found": [finding.text for finding in here],
        "marks": [mark for finding in here for mark in finding.marks],
    }
    facts = {"previous": told, "why": reason, "evidence": evidence}
    written = there.append(name, _draft("accepted", now, facts))
    if {finding.entry for finding in found} == {entry}:
        _remember(there, name, there.read(name))
    return written


def at(events: tuple[Event, ...], moment: datetime) -> Event | None:
    """The entry that had made the champion at a moment; None before the first."""
    made = [
        event
        for event in events
        if event.event in chain.MOVES and datetime.fromisoformat(event.at) <= moment
    ]
    return made[-1] if made else None


def remember(there: Ledger, name: str) -> None:
    """Keep the head of a chain in the home, unless what is kept contradicts the chain."""
    state = there.read(name)
    if not chain.findings(state, *_remembered(there, name)):
        _remember(there, name, state)


def _draft(event: What, version: int | None, facts: dict[str, Any]) -> Draft:
    return Draft(event=event, version=version, who=chain.who(), **facts)


def _remembered(there: Ledger, name: str) -> tuple[Anchor, ...]:
    kept = _kept(name).get(there.key)
    return () if kept is None else (Anchor(HERE, *kept),)


def _remember(there: Ledger, name: str, state: State) -> None:
    if not state.events:
        return
    last = state.events[-1]
    path = _heads(name)
    with files.locked(project.home() / "locks" / f"history-{name}.lock"):
        kept = _kept(name)
        if kept.get(there.key) != (last.number, last.sha256):
            files.write_sealed(path, {**kept, there.key: [last.number, last.sha256]})


def _kept(name: str) -> dict[str, tuple[int, str]]:
    """Number and sha256 of the last entry of a name, by ledger."""
    path = _heads(name)
    try:
        kept = json.loads(path.read_bytes())
        if "seal" in kept:  # homes of before have none, until an entry is written
            kept = files.read_sealed(path)
        return {key: (int(number), str(sha256)) for key, (number, sha256) in kept.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{path} is damaged ({type(error).__name__})",
            f"look whether you know the history: athanor history {name}; then delete that file",
        ) from error


def _heads(name: str) -> Path:
    return project.home() / "history" / f"{name}.json"

"""Moving the champion: files verified, then alias and entry in one transaction of the ledger's.

MLflow's aliases have no compare-and-set, no history and no user: `components.history` has.
"""

from typing import Any, Literal

from components import history
from components.artifacts import Promotion
from components.errors import IntegrityError, UsageError
from components.history import Event
from components.history.chain import rolled_back, version_text
from components.history.place import MEANWHILE, TAKEN_BACK, Ledger, NotMoved
from components.registry import resolve
from components.registry.fetching import fetch

THERE = "it is the champion already"


class ChampionMoved(UsageError):
    """The champion is not the version that the candidate was compared with."""


def promote(
    name: str, version: int, *, expected: int | None, why: str, evidence: dict[str, Any]
) -> Promotion:
    """Make a version the champion, if the champion is still the expected one.

    A version that was rolled back stays where it is: that takes a person.

    Raises:
        ChampionMoved: the champion is another version than `expected`.
        IntegrityError: the version's files are damaged, or the history is; the champion stays.
    """
    ledger = history.ledger()
    state = history.whole(ledger, name)
    if state.champion == version:
        return _stay(name, version, version, THERE)
    facts = {"previous": expected, "why": why, "evidence": evidence}
    if state.champion == expected and not rolled_back(state.events, version):
        facts = _verified(name, version, state.events, facts)
    try:
        return _moved(ledger, name, "promoted", version, facts)
    except NotMoved as refused:
        if refused.why == TAKEN_BACK:
            return _stay(name, version, refused.champion, TAKEN_BACK)
        raise _meanwhile(name, refused, expected) from refused


def put(name: str, version: int, reason: str, *, allow_unsigned: bool = False) -> Promotion:
    """Make a version whose verdict had passed the champion, because a person says so.

    Raises:
        As `force`; UsageError: no verdict of this version passed.
    """
    resolve(f"{name}/{version}")
    passed = [
        event
        for event in history.history(name)
        if event.version == version and event.event in ("judged", "promoted")
    ]
    if not passed:
        raise UsageError(
            f"{name} v{version} has no passed verdict",
            f"athanor promote {name} {version} --force --reason '...'  overrules, and is recorded",
        )
    facts = {
        "why": reason or "put back by hand; its verdict had passed",
        "evidence": {**passed[-1].evidence, "by": "hand", "judged": passed[-1].number},
        "allow_unsigned": allow_unsigned,
    }
    return _by_hand(name, "promoted", version, facts)


def force(name: str, version: int, reason: str, *, allow_unsigned: bool = False) -> Promotion:
    """Make a version the champion because a person says so; the reason is kept for good.

    That it was allowed to be unsigned is kept with it.

    Raises:
        UsageError: no such version, or no reason.
        IntegrityError: its files are damaged, or the history is; the champion stays.
    """
    if not reason.strip():
        raise UsageError("a promotion without a verdict needs a reason", "add --reason TEXT")
    resolve(f"{name}/{version}")
    facts = {"why": reason, "allow_unsigned": allow_unsigned}
    return _by_hand(name, "forced", version, facts)


def rollback(name: str, reason: str = "", to: int | None = None) -> Promotion:
    """Put the champion before this one, or the one named, back; the one taken back stays out.

    Raises:
        UsageError: there is no champion, none before it, or the named one never was champion.
        IntegrityError: the earlier version's files are damaged, or the history is.
    """
    ledger = history.ledger()
    state = history.whole(ledger, name)
    champion = state.champion
    if champion is None:
        raise UsageError(f"{name} has no champion to roll back", f"athanor history {name}")
    earlier = before(state.events, champion) if to is None else to
    if earlier is None:
        raise UsageError(
            f"the history of {name} knows no champion before v{champion}",
            f"name one: athanor promote {name} VERSION --force --reason TEXT",
        )
    if earlier == champion:
        return _stay(name, champion, champion, THERE)
    if earlier not in champions(state.events):
        were = ", ".join(f"v{each}" for each in champions(state.events))
        raise UsageError(
            f"{name} v{earlier} never was champion; these were: {were}",
            f"athanor promote {name} {earlier}",
        )
    facts = {"previous": champion, "why": reason or f"v{champion} was taken back"}
    facts = _verified(name, earlier, state.events, facts)
    try:
        return _moved(ledger, name, "rolled back", earlier, facts)
    except NotMoved as refused:
        raise _meanwhile(name, refused, champion) from refused


def champions(events: tuple[Event, ...]) -> tuple[int, ...]:
    """Every version that ever was champion, in the order in which each last became it."""
    found: list[int] = []
    for event in events:
        if event.event in history.MOVES and event.version is not None:
            found = [each for each in found if each != event.version] + [event.version]
    return tuple(found)


def before(events: tuple[Event, ...], champion: int) -> int | None:
    """The champion before `champion`; versions that were taken back themselves are skipped."""
    line: list[int] = []
    for event in events:
        if event.event == "rolled back" and event.version in line:
            line = line[: line.index(event.version) + 1]
        elif event.event == "rolled back" and event.version is not None:
            line = [each for each in line if each != event.previous] + [event.version]
        elif event.event in history.MOVES and event.version is not None:
            line = [each for each in line if each != event.version] + [event.version]
    line = [each for each in line if each != champion]
    return line[-1] if line else None


Move = Literal["promoted", "forced", "rolled back"]


def _by_hand(name: str, event: Move, version: int, facts: dict[str, Any]) -> Promotion:
    ledger = history.ledger()
    state = history.whole(ledger, name)
    if state.champion == version:
        if event == "forced":
            facts.pop("allow_unsigned")
            history.record(name, event, version, previous=version, **facts)
        return _stay(name, version, version, THERE)
    facts = _verified(name, version, state.events, {"previous": state.champion, **facts})
    try:
        return _moved(ledger, name, event, version, facts)
    except NotMoved as refused:
        raise _meanwhile(name, refused, state.champion) from refused


def _verified(
    name: str, version: int, events: tuple[Event, ...], facts: dict[str, Any]
) -> dict[str, Any]:
    """The facts with the digest of the version's files, which are those that were registered."""
    bundle = fetch(name, version, allow_unsigned=facts.pop("allow_unsigned", False))
    registered = [
        event.evidence.get("bundle")
        for event in events
        if event.event == "registered" and event.version == version
    ]
    if registered and bundle.digest not in registered:
        raise IntegrityError(
            f"{name} v{version} holds bundle {bundle.digest[:12]}, but its history says that "
            f"{str(registered[-1])[:12]} was registered",
            "promote another version, and look who changed the tags of this one",
        )
    kept = {"bundle": bundle.digest, "signature": bundle.signed}
    return {**facts, "evidence": {**facts.get("evidence", {}), **kept}}


def _moved(
    ledger: Ledger, name: str, event: Move, version: int, facts: dict[str, Any]
) -> Promotion:
    """`facts` name the expected champion as `previous`."""
    history.move(ledger, name, event, version, **facts)
    return Promotion(
        name=name,
        version=version,
        previous=facts["previous"],
        moved=True,
        reason=facts["why"],
        atomic=ledger.atomic,
    )


def _meanwhile(name: str, refused: NotMoved, expected: int | None) -> ChampionMoved:
    return ChampionMoved(
        f"the champion of {name} is now {version_text(refused.champion)}, "
        f"you compared {version_text(expected)}: {MEANWHILE}",
        "run again: the candidate is then judged against the champion of now",
    )


def _stay(name: str, version: int, champion: int | None, reason: str) -> Promotion:
    return Promotion(name=name, version=version, previous=champion, moved=False, reason=reason)

"""Moving the champion: compared with what was expected, verified, and written to the history.

MLflow's aliases have no compare-and-set, no history and no user. Here a file lock makes each move
one transaction for all processes that share the home, and the history is written ahead: a move
that a kill cut in two is told apart from one that happened. Processes with another home on the
same server are not held off by this lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from components import files, project
from components.artifacts import Promotion
from components.errors import IntegrityError, UsageError
from components.history import Event, history, record, rolled_back
from components.registry import CHAMPION, alias, resolve, set_alias
from components.registry.fetching import fetch


class ChampionMoved(UsageError):
    """The champion is not the version that the candidate was compared with."""


def promote(
    name: str, version: int, *, expected: int | None, why: str, evidence: dict[str, Any]
) -> Promotion:
    """Make a version the champion, if the champion is still the expected one.

    A version that was rolled back stays where it is: that takes `force`.

    Raises:
        ChampionMoved: the champion is another version than `expected`.
        IntegrityError: the version's files are damaged; the champion stays.
    """
    with _settled(name) as champion:
        if champion == version:
            return _stay(name, version, champion, "it is the champion already")
        if champion != expected:
            record(name, "refused", version, previous=champion, why="the champion moved meanwhile")
            raise ChampionMoved(
                f"the champion of {name} is now {_shown(champion)}, "
                f"you compared {_shown(expected)}",
                "run again: the candidate is then judged against the champion of now",
            )
        if rolled_back(name, version):
            reason = "it was rolled back; only an explicit `athanor promote` brings it back"
            record(name, "refused", version, previous=champion, why=reason)
            return _stay(name, version, champion, reason)
        facts = {"why": why, "evidence": evidence}
        _move(name, "promoted", version, champion, facts)
        return Promotion(name=name, version=version, previous=champion, moved=True, reason=why)


def force(name: str, version: int, reason: str, *, allow_unsigned: bool = False) -> Promotion:
    """Make a version the champion because a person says so; the reason is kept for good.

    That it was allowed to be unsigned is kept with it.

    Raises:
        UsageError: no such version, or no reason.
        IntegrityError: its files are damaged; the champion stays.
    """
    if not reason.strip():
        raise UsageError("a promotion without a verdict needs a reason", "add --reason TEXT")
    resolve(f"{name}/{version}")
    with _settled(name) as champion:
        if champion == version:
            record(name, "forced", version, previous=champion, why=reason)
            return _stay(name, version, champion, "it is the champion already")
        facts = {"why": reason, "allow_unsigned": allow_unsigned}
        _move(name, "forced", version, champion, facts)
        return Promotion(name=name, version=version, previous=champion, moved=True, reason=reason)


def rollback(name: str, reason: str = "") -> Promotion:
    """Put the champion before this one back in its place; the one taken back stays out.

    Raises:
        UsageError: there is no champion, or none before it.
        IntegrityError: the earlier version's files are damaged; the champion stays.
    """
    with _settled(name) as champion:
        if champion is None:
            raise UsageError(f"{name} has no champion to roll back", f"athanor history {name}")
        earlier = _before(history(name), champion)
        if earlier is None:
            raise UsageError(
                f"the history of {name} knows no champion before v{champion}",
                f"name one: athanor promote {name} VERSION --force --reason TEXT",
            )
        why = reason or f"v{champion} was taken back"
        _move(name, "rolled back", earlier, champion, {"why": why})
        return Promotion(name=name, version=earlier, previous=champion, moved=True, reason=why)


@contextmanager
def _settled(name: str) -> Iterator[int | None]:
    """Hold the name's lock; give the champion, after a move that a kill cut in two is settled."""
    with files.locked(project.home() / "locks" / f"registry-{name}.lock"):
        champion = alias(name)
        events = history(name)
        if events and events[-1].event == "moving":
            _settle(name, events[-1], champion)
        yield champion


def _settle(name: str, cut: Event, champion: int | None) -> None:
    """Write how the move that was under way ended: the alias knows."""
    facts = {"previous": cut.previous, "evidence": cut.evidence}
    wanted = cut.evidence["event"]
    if champion == cut.version:
        record(name, wanted, cut.version, why=cut.why, **facts)
    else:
        record(name, "refused", cut.version, why="its process died before the move", **facts)


def _move(name: str, event: Any, version: int, champion: int | None, facts: dict[str, Any]) -> None:
    """Verify the files, announce, move, read back, record."""
    bundle = fetch(name, version, allow_unsigned=facts.get("allow_unsigned", False))
    kept = {"bundle": bundle.digest, "signature": bundle.signed, "event": event}
    evidence = {**facts.get("evidence", {}), **kept}
    facts = {"why": facts["why"], "evidence": evidence, "previous": champion}
    record(name, "moving", version, **facts)
    set_alias(name, CHAMPION, version)
    found = alias(name)
    if found != version:
        raise IntegrityError(
            f"the champion of {name} was set to v{version}, but reads as {_shown(found)}: another "
            "home moves it on the same server",
            "let one home promote this name, then run again",
        )
    record(name, event, version, **facts)


def _before(events: tuple[Event, ...], champion: int) -> int | None:
    """The champion before `champion`; versions that were taken back themselves are skipped."""
    chain: list[int] = []
    for event in events:
        if event.event in ("promoted", "forced"):
            chain = [each for each in chain if each != event.version] + [event.version]
        elif event.event == "rolled back" and event.previous is not None:
            chain = [each for each in chain if each != event.previous]
    chain = [each for each in chain if each != champion]
    return chain[-1] if chain else None


def _stay(name: str, version: int, champion: int | None, reason: str) -> Promotion:
    return Promotion(name=name, version=version, previous=champion, moved=False, reason=reason)


def _shown(version: int | None) -> str:
    return "none" if version is None else f"v{version}"

"""Promoters that race: processes that all compared with the same champion and want its place."""

import collections
from typing import Any

from components import history
from components.history.place import MEANWHILE, NotMoved

MANY = 8


def promote(task: tuple[str, int, int | None]) -> tuple[str, Any]:
    """One promoter's try: what came of it."""
    name, version, expected = task
    facts = {"previous": expected, "why": "better", "evidence": {}}
    try:
        event = history.move(history.ledger(), name, "promoted", version, **facts)
    except NotMoved as refused:
        return "refused", refused.why
    except Exception as error:  # noqa: BLE001 - anything else is what the test is about
        return "broken", repr(error)
    return "won", event.version


def a_round(pool: Any, name: str, versions: int) -> list[tuple[str, Any]]:
    """Eight at once; each wants another version than the champion."""
    champion = history.ledger().read(name).champion
    wanted = [version for version in range(1, versions + 1) if version != champion]
    tasks = [(name, wanted[at % len(wanted)], champion) for at in range(MANY)]
    before = len(history.history(name))
    told = pool.map(promote, tasks, chunksize=1)
    assert len(history.history(name)) == before + MANY, "each try is an entry"
    return told


def demand_one_winner(name: str, told: list[tuple[str, Any]]) -> None:
    """One moved the champion, seven were told why not, and the alias is the winner's."""
    outcomes = collections.Counter(outcome for outcome, _ in told)
    assert outcomes == {"won": 1, "refused": MANY - 1}, told
    assert {why for outcome, why in told if outcome == "refused"} == {MEANWHILE}
    [winner] = [version for outcome, version in told if outcome == "won"]
    assert history.ledger().read(name).champion == winner

"""Bringing what waits to its stores now, while somebody looks on."""

import threading
import time
from collections.abc import Callable

from components import mlflow_store
from components.records import Record
from components.tracking.tracker import Tracker
from components.tracking.unshipped import Trouble, Waiting, troubles, waiting
from components.tracking.wanted import noted


class Synced(Record):
    """What a sync did and left."""

    shipped: int
    """Runs that are shown in full now and were not before."""
    remaining: tuple[Waiting, ...]
    left_to: tuple[Waiting, ...]
    """Those that a run which works now brings itself."""
    troubles: tuple[Trouble, ...]


def sync(timeout_s: float, say: Callable[[str], None]) -> Synced:
    """Ship what no living process looks after, to whichever stores it is for, within this time."""
    deadline = time.monotonic() + timeout_s
    before = sum(not one.cared_for for one in noted())
    for uri in sorted({one.uri for one in noted() if not one.cared_for}):
        _ship(uri, max(0.1, deadline - time.monotonic()), say)
    left = waiting()
    remaining = tuple(one for one in left if not one.cared_for)
    return Synced(
        shipped=max(0, before - len(remaining)),
        remaining=remaining,
        left_to=tuple(one for one in left if one.cared_for),
        troubles=troubles(),
    )


def _ship(uri: str, timeout_s: float, say: Callable[[str], None]) -> None:
    store = mlflow_store.shown_uri(uri)
    tracker = Tracker(uri=uri)
    closing = threading.Thread(target=tracker.close, args=(timeout_s,), daemon=True)
    closing.start()
    told = -1
    while closing.is_alive():
        count = len(tracker.unshipped())
        if count != told:
            say(f"runs still to ship to {store}: {count}")
            told = count
        closing.join(0.5)

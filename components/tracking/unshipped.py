"""What MLflow does not show yet, found without asking it: notes, journals and the last trouble."""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from components import files, mlflow_store
from components.records import Record
from components.tracking import journal as journals
from components.tracking.wanted import Wanted, folder, noted

TROUBLE = "trouble"
"""File beside the notes: store -> what went wrong there last."""


class Waiting(Record):
    """A run of which something is still to be shipped."""

    name: str
    store: str
    """Address without a password."""
    shown: bool
    """Whether the store knows the run at all."""
    ended: bool
    cared_for: bool
    """Whether a process that lives brings it; else the next run or `athanor sync` does."""
    points: int
    """Values of metrics in the journal that the store does not have yet."""
    since: str
    """When the oldest of what is missing was written; UTC, ISO 8601."""


class Trouble(Record):
    """Why shipping to a store failed last; gone once it works."""

    store: str
    message: str
    since: str
    """When it began to fail; UTC, ISO 8601."""
    at: str
    """When it failed last."""


def waiting() -> tuple[Waiting, ...]:
    """Runs that are not shown in full, the oldest first."""
    return tuple(_waiting(wanted) for wanted in noted())


def troubles() -> tuple[Trouble, ...]:
    """The last trouble of each store that something waits for."""
    waited = {mlflow_store.shown_uri(wanted.uri) for wanted in noted()}
    found = [Trouble.model_validate(each) for each in _troubles().values()]
    return tuple(each for each in found if each.store in waited)


def remember_trouble(uri: str, message: str) -> None:
    """Note that the store did not take something."""
    store, now = mlflow_store.shown_uri(uri), _iso(time.time())
    known = _troubles()
    since = known[store]["since"] if store in known else now
    known[store] = Trouble(store=store, message=message, since=since, at=now).model_dump()
    files.write_json(folder() / TROUBLE, known)


def forget_trouble(uri: str) -> None:
    """Note that the store took everything that it was asked to take."""
    known = _troubles()
    if known.pop(mlflow_store.shown_uri(uri), None):
        files.write_json(folder() / TROUBLE, known)


def _waiting(wanted: Wanted) -> Waiting:
    points, first = 0, 0.0
    if wanted.journal:
        journal = Path(wanted.journal)
        state = journals.load(journal, wanted.run_id)
        for portion in journals.portions(journal, state, wanted.until):
            points += len(portion.points)
            if not first and portion.points:
                first = min(point.time_ms for point in portion.points) / 1000
    return Waiting(
        name=wanted.name,
        store=mlflow_store.shown_uri(wanted.uri),
        shown=bool(wanted.run_id),
        ended=bool(wanted.status),
        cared_for=wanted.cared_for,
        points=points,
        since=_iso(first or (wanted.ended_ms or wanted.started_ms) / 1000),
    )


def _troubles() -> dict[str, dict[str, str]]:
    with suppress(OSError, ValueError):
        return dict(json.loads((folder() / TROUBLE).read_bytes()))
    return {}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

"""What the database of studies says, asked without Optuna, whose import takes a second."""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from components import databases, files, postgres, project

AT_WORK = (
    "SELECT DISTINCT study_name FROM studies JOIN trials USING (study_id)"
    " WHERE trials.state = 'RUNNING'"
)
LAST_USES = (
    "SELECT study_name, MAX(COALESCE(datetime_complete, datetime_start)) FROM studies"
    " LEFT JOIN trials ON trials.study_id = studies.study_id GROUP BY study_name"
)


def at_work() -> list[str]:
    """Studies with a running trial."""
    return [name for (name,) in _asked(AT_WORK)]


def last_uses() -> list[tuple[str, Any]]:
    """Name of each study, and when one of its trials began or ended last, in local time."""
    with suppress(sqlite3.DatabaseError):  # not made yet, or damaged: the doctor says so
        return _asked(LAST_USES)
    return []


def held(name: str) -> bool:
    """Whether one process searches a study of the home's file alone."""
    return files.is_locked(project.home() / "optuna" / "locks" / f"{name}.lock")


def drop(name: str) -> None:
    """Delete a study; who searches it is waited for."""
    import optuna

    from components.study import storage

    with storage.locks().alone(name), storage.opened() as store:
        optuna.delete_study(study_name=name, storage=store)


def database() -> Path:
    """The file of a home that names no PostgreSQL."""
    return project.home() / "optuna" / "optuna.db"


def _asked(question: str) -> list[tuple[Any, ...]]:
    if postgres.address():
        return postgres.rows("optuna", question)
    if not database().is_file():
        return []
    with databases.reading(database(), timeout_s=60) as asked:
        return asked.execute(question).fetchall()

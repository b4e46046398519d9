"""Where studies lie: a SQLite file of the home, until another database is named."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from components import databases, files, project
from components.study.locks import FileLocks, Locks


@contextmanager
def opened() -> Iterator[optuna.storages.RDBStorage]:
    """The storage of all studies, its connections closed in the end.

    Processes that open a fresh store at once would crash: the first open is under a lock.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    storage = _file(database())
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def locks() -> Locks:
    """The locks of those who search there."""
    return FileLocks(project.home() / "optuna" / "locks")


def database() -> Path:
    """The file of a home that names no other database."""
    return project.home() / "optuna" / "optuna.db"


def _file(database: Path) -> optuna.storages.RDBStorage:
    with files.locked(database.with_suffix(".lock")):
        if database.is_file():
            databases.demand_whole(database, "move it aside: an unfinished search begins anew")
        return optuna.storages.RDBStorage(
            f"sqlite:///{database}", engine_kwargs={"connect_args": {"timeout": 60}}
        )

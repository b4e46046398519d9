"""Where studies lie: in a SQLite file of the home, or in the PostgreSQL that was named for it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError

from components import databases, files, postgres, project
from components.errors import ServiceUnreachable
from components.study.locks import FileLocks, Locks, ServerLocks


@contextmanager
def opened() -> Iterator[optuna.storages.RDBStorage]:
    """The storage of all studies, its connections closed in the end.

    Raises:
        IntegrityError: the file is damaged.
        ServiceUnreachable: the server went away.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    there = postgres.address()
    storage = _on(there) if there else _in(database())
    try:
        yield storage
    except (StorageInternalError, OperationalError) as error:
        if there is None:
            raise
        raise ServiceUnreachable(
            f"the studies' database at {there.shown} went away: {str(error).splitlines()[0][:200]}",
            "when it answers: athanor resume",
        ) from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def locks() -> Locks:
    """The locks of those who search there."""
    if there := postgres.address():
        return ServerLocks(there.url("optuna"))
    return FileLocks(project.home() / "optuna" / "locks")


def database() -> Path:
    """The file of a home that names no PostgreSQL."""
    return project.home() / "optuna" / "optuna.db"


def _in(database: Path) -> optuna.storages.RDBStorage:
    """Processes that open a fresh store at once would crash: the first open is under a lock."""
    with files.locked(database.with_suffix(".lock")):
        if database.is_file():
            databases.demand_whole(database, "move it aside: an unfinished search begins anew")
        return optuna.storages.RDBStorage(
            f"sqlite:///{database}", engine_kwargs={"connect_args": {"timeout": 60}}
        )


def _on(there: postgres.Address) -> optuna.storages.RDBStorage:
    """Connections are asked whether they live: a server that was started again is no error."""
    url = there.url("optuna")
    with postgres.connected(there, postgres.DATABASES["optuna"]):
        pass  # or it says why not
    with ServerLocks(url).alone("open"):
        return optuna.storages.RDBStorage(
            url, engine_kwargs={"pool_pre_ping": True, "pool_size": 2}
        )

"""SQLite files that others write to: read as they are, and examined.

Whether one is whole is asked before a library opens it and takes what it finds for the truth.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from components.errors import IntegrityError

FULLY_BYTES = 64 << 20
"""Up to this size every page and index is read; of a larger file only the head and the length."""

_seen: set[tuple[str, int]] = set()


@contextmanager
def reading(database: Path, timeout_s: float = 30) -> Iterator[sqlite3.Connection]:
    """A connection to an existing database for questions only.

    It may write all the same: a process that was killed in a transaction leaves a journal, and
    only who may write can roll that back. With `mode=ro` SQLite refuses to read at all.

    Raises:
        sqlite3.DatabaseError: it is not there, no database, damaged, or locked for too long.
    """
    place = f"file:{quote(str(database))}?mode=rw"
    with closing(sqlite3.connect(place, uri=True, timeout=timeout_s)) as connection:
        connection.execute("PRAGMA query_only = ON")
        yield connection


def demand_whole(database: Path, remedy: str) -> None:
    """Nothing, if the file is a database with tables; looked at once in a process.

    Raises:
        IntegrityError: it is empty, cut short, malformed or unreadable.
    """
    try:
        status = database.stat()
        seen = str(database), status.st_ino
        wrong = "" if seen in _seen else _wrong(database, fully=status.st_size <= FULLY_BYTES)
    except OSError as error:
        raise IntegrityError(
            f"{database} is damaged: {error.strerror or 'it cannot be read'}", remedy
        ) from error
    if wrong:
        raise IntegrityError(f"{database} is damaged: {wrong}", remedy)
    _seen.add(seen)


def _wrong(database: Path, fully: bool) -> str:
    """What is wrong with a database; empty where nothing is."""
    with database.open("rb") as file:
        if not file.read(1):
            return "it is empty"
    try:
        with reading(database, timeout_s=5) as connection:
            connection.execute("SELECT * FROM alembic_version").fetchone()
            if fully:
                [found] = connection.execute("PRAGMA integrity_check(1)").fetchone()
                return "" if found == "ok" else str(found).strip().splitlines()[-1]
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            size = pages * connection.execute("PRAGMA page_size").fetchone()[0]
            return "" if database.stat().st_size >= size else "it is cut short"
    except sqlite3.DatabaseError as error:
        busy = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        return "" if busy else str(error)

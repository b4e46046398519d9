"""Is a SQLite file whole? Asked before a library opens it and takes what it finds for the truth."""

import sqlite3
from pathlib import Path

from components.errors import IntegrityError

FULLY_BYTES = 64 << 20
"""Up to this size every page and index is read; of a larger file only the head and the length."""

_seen: set[tuple[str, int]] = set()


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
    connection = sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=5)
    try:
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
    finally:
        connection.close()

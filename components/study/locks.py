"""Locks of a study that are free the moment their holder dies.

Where the studies lie in a file of the home, whoever searches shares its disk, and the kernel keeps
the locks. Where they lie on a PostgreSQL, that server keeps them: an advisory lock lives as long
as the connection that took it, on whatever machine its process is.
"""

import fcntl
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from components import files

if TYPE_CHECKING:
    from sqlalchemy import Connection

Release = Callable[[], None]
"""Gives a lock back."""


class Locks(Protocol):
    """Locks by name, of all processes that search in one storage."""

    def alone(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock that nobody shares; waits for it."""

    def beside(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock beside others who do so; waits for who holds it alone."""

    def take(self, name: str) -> Release | None:
        """The lock, if nobody has it now."""


class FileLocks:
    """On flock(2), a file a lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def alone(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock that nobody shares; waits for it."""
        return files.locked(self._path(name))

    def beside(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock beside others who do so; waits for who holds it alone."""
        return files.locked(self._path(name), shared=True)

    def take(self, name: str) -> Release | None:
        """The lock, if nobody has it now."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        return file.close

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.lock"


class ServerLocks:
    """Advisory locks of a PostgreSQL, a connection each; a lost machine's are free in 30 s."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Hold a lock that nobody shares; waits for it."""
        with self._asked("pg_advisory_lock", name):
            yield

    @contextmanager
    def beside(self, name: str) -> Iterator[None]:
        """Hold a lock beside others who do so; waits for who holds it alone."""
        with self._asked("pg_advisory_lock_shared", name):
            yield

    def take(self, name: str) -> Release | None:
        """The lock, if nobody has it now."""
        connection, given = self._ask("pg_try_advisory_lock", name)
        if not given:
            connection.close()
            return None
        return lambda: _close(connection)

    @contextmanager
    def _asked(self, function: str, name: str) -> Iterator[None]:
        connection, _ = self._ask(function, name)
        try:
            yield
        finally:
            _close(connection)

    def _ask(self, function: str, name: str) -> tuple["Connection", bool]:
        import sqlalchemy as sa

        engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        connection = engine.connect()
        # The server looks after a machine that vanished without a word.
        for setting, value in (("idle", 15), ("interval", 5), ("count", 3)):
            connection.execute(sa.text(f"SET tcp_keepalives_{setting} = {value}"))
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        given = connection.execute(sa.text(f"SELECT {function}(:number)"), {"number": number})
        return connection, given.scalar() is not False


def _close(connection: "Connection") -> None:
    """End a connection; the server may have ended it, and the lock with it."""
    with suppress(Exception):
        connection.close()

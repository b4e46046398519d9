"""Who uses the store now: what a living run has read or made is not freed under it.

A run holds a lease, a file that the kernel keeps locked as long as its process lives; the file's
time says since when. Each use of a stored thing touches the thing. Whoever frees holds the store
alone while it looks once more at leases and times, and leaves what was touched since the oldest
living lease began.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components import files, project
from components.errors import ResourceError

MARGIN_S = 60.0
"""How far clocks of file systems may differ."""
PATIENCE_S = 60.0


@contextmanager
def held() -> Iterator[None]:
    """Nothing that is used from now on is freed until the block ends or its process dies."""
    path = _folder() / f"{uuid.uuid4().hex}.lease"
    with using():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def using() -> Iterator[None]:
    """Nothing is freed while the block looks at a stored thing and touches it."""
    with files.locked(_store(), shared=True):
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Nobody looks at a stored thing while the block frees; runs wait for a moment.

    Raises:
        ResourceError: somebody holds the store for long, as a backup does.
    """
    deadline = time.monotonic() + PATIENCE_S
    _store().parent.mkdir(parents=True, exist_ok=True)
    with _store().open("a") as file:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"another process holds the store ({_store()}), as a backup does",
                    "wait for it to end, then run the same command again",
                )
            time.sleep(0.05)
        yield


def oldest() -> float | None:
    """Since when the oldest living lease is held, in seconds since 1970; None where there is none.

    Leases of dead processes are removed.
    """
    begun: list[float] = []
    for path in _folder().glob("*.lease"):
        with suppress(FileNotFoundError), path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            except BlockingIOError:
                begun.append(path.stat().st_mtime)
    return min(begun) if begun else None


def touch(path: Path) -> None:
    """Note that a thing is used now."""
    with suppress(FileNotFoundError):
        os.utime(path)


def _folder() -> Path:
    return project.home() / "locks" / "leases"


def _store() -> Path:
    return project.home() / "locks" / "store.lock"

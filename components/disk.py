"""What a disk refuses, through whatever library the refusal comes, and whether it has room."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import ResourceError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a file system says that has no room for a write."""

BROKEN = frozenset({errno.EIO, errno.EROFS})
"""What a disk says that cannot be written."""

SQLITE = {
    "database or disk is full": errno.ENOSPC,
    "disk I/O error": errno.EIO,
    "attempt to write a readonly database": errno.EROFS,
}
"""SQLite's words for the same."""


def demand(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Nothing, where a folder's file system has so much room.

    Raises:
        ResourceError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ResourceError(
            f"{purpose} needs {_mb(needed_bytes)} on the disk of {folder}, {_mb(free)} are free",
            f"free {_mb(needed_bytes - free)} there, then run again: finished work is kept",
        )


def shortage(error: BaseException) -> ResourceError | None:
    """What an error says of the disk, whatever library it came through; None where nothing."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        if isinstance(link, ResourceError):
            return link
        number = _errno(link)
        if number in FULL | BROKEN:
            return _refused(getattr(link, "filename", None), number)
        seen.append(link)
        link = link.__cause__ or link.__context__
    return None


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Inside, a disk that is full or broken is told as such, with the path.

    Raises:
        ResourceError: the disk refused a write.
    """
    try:
        yield
    except Exception as error:
        number = _errno(error)
        if number in FULL | BROKEN:
            raise _refused(path, number) from error
        raise


def _errno(error: BaseException) -> int:
    """The number of a disk's refusal, also from libraries that put it into words; else 0."""
    if isinstance(error, OSError):
        return error.errno or 0
    text = str(error)
    if found := re.search(r"\(os error (\d+)\)", text):  # as Rust's libraries say it
        return int(found[1])
    return next((number for words, number in SQLITE.items() if words in text), 0)


def _refused(path: Any, number: int) -> ResourceError:
    place = f" {path}" if path else ""
    if number in FULL:
        return ResourceError(
            f"cannot write{place}: {os.strerror(number)}",
            "free some space, then run the same command again: finished work is kept",
        )
    return ResourceError(
        f"cannot write{place}: {os.strerror(number)}",
        "check the disk, then run the same command again: finished work is kept",
    )


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"

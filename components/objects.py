"""Files named by the sha256 of their bytes: what the records of steps point to.

Whether a result counts is asked often, of every object: there the size, the time of change and the
inode of a file that was hashed once vouch for it. Whoever uses an object gets it hashed anew: on a
disk bits also change without a time of change.
"""

import os
from contextlib import suppress
from pathlib import Path

from components import files, leases, project
from components.errors import IntegrityError, ResourceError

_verified: dict[str, tuple[int, int, int]] = {}


def put(source: Path) -> str:
    """Keep a copy of a file for good and give its sha256."""
    name = files.digest(source)
    target = _place(name)
    with leases.using():
        if _wrong(name):
            files.copy(source, target)
        else:
            leases.touch(_mark(name))
    return name


def put_bytes(data: bytes) -> str:
    """Keep these bytes for good and give their sha256."""
    import hashlib

    name = hashlib.sha256(data).hexdigest()
    with leases.using():
        if _wrong(name):
            files.write_bytes(_place(name), data)
        else:
            leases.touch(_mark(name))
    return name


def path(name: str) -> Path:
    """The file of this sha256, every byte hashed now.

    Raises:
        IntegrityError: the object is absent or damaged; no mark vouches for it any more.
    """
    if wrong := _wrong(name):
        _verified.pop(name, None)
        _mark(name).unlink(missing_ok=True)
        raise IntegrityError(
            f"object {name[:12]} {wrong} ({_place(name)})",
            "run the command again: its step is remade",
        )
    return _place(name)


def _wrong(name: str) -> str:
    """What is wrong with an object's bytes; empty where they are those of its name."""
    try:
        return "" if files.digest(_place(name)) == name else "is damaged"
    except FileNotFoundError:
        return "is absent"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def size(name: str) -> int:
    """Bytes of an object; 0 where it is absent."""
    try:
        return _place(name).stat().st_size
    except OSError:
        return 0


def intact(name: str) -> bool:
    """Whether the object is there and looks as it did when its bytes were hashed.

    Good enough to plan with: size, time of change and inode vouch for it in this process and,
    through the marks in `verified`, in the next one. `path` hashes.
    """
    place = _place(name)
    try:
        status = place.stat()
    except OSError:
        return False
    mark = (status.st_size, status.st_mtime_ns, status.st_ino)
    if _verified.get(name) == mark or _recorded(name) == mark:
        _verified[name] = mark
        return True
    try:
        whole = files.digest(place) == name
    except OSError:
        return False
    if whole:
        _verified[name] = mark
        with suppress(ResourceError):  # a full disk costs the next process one more hash
            files.write_bytes(_mark(name), " ".join(map(str, mark)).encode())
    return whole


def used(name: str) -> float:
    """When the object was last put here, in seconds since 1970.

    Raises:
        FileNotFoundError: it is absent.
    """
    made = _place(name).stat().st_mtime
    with suppress(FileNotFoundError):
        made = max(made, _mark(name).stat().st_mtime)
    return made


def _recorded(name: str) -> tuple[int, int, int] | None:
    try:
        size, changed, inode = map(int, _mark(name).read_text().split())
    except (OSError, ValueError):
        return None
    return size, changed, inode


def _place(name: str) -> Path:
    return project.home() / "objects" / name[:2] / name


def _mark(name: str) -> Path:
    return project.home() / "objects" / "verified" / name


def link(name: str, target: Path) -> Path:
    """Put a verified copy of an object at a path under the name that a reader expects."""
    source = path(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    files.copy(source, target)
    os.utime(target, ns=(0, 0))
    return target

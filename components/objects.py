"""Files named by the sha256 of their bytes: what the records of steps point to."""

import os
from contextlib import suppress
from pathlib import Path

from components import files, leases, project
from components.errors import IntegrityError

_verified: dict[str, tuple[int, int, int]] = {}


def put(source: Path) -> str:
    """Keep a copy of a file for good and give its sha256."""
    name = files.digest(source)
    target = _place(name)
    with leases.using():
        if intact(name):
            leases.touch(_mark(name))
        else:
            files.copy(source, target)
    return name


def put_bytes(data: bytes) -> str:
    """Keep these bytes for good and give their sha256."""
    import hashlib

    name = hashlib.sha256(data).hexdigest()
    with leases.using():
        if intact(name):
            leases.touch(_mark(name))
        else:
            files.write_bytes(_place(name), data)
    return name


def path(name: str) -> Path:
    """The file of this sha256, its bytes verified.

    Raises:
        IntegrityError: the object is absent or damaged.
    """
    place = _place(name)
    if not intact(name):
        state = "is damaged" if place.exists() else "is absent"
        raise IntegrityError(
            f"object {name[:12]} {state} ({place})", "run the command again: its step is remade"
        )
    return place


def intact(name: str) -> bool:
    """Whether the object is there with the bytes of its name.

    Hashed once; afterwards size, time of change and inode vouch for it in this process and,
    through the journal `verified`, in the next one.
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

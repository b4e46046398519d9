"""Files that are whole or absent: every byte that Athanor writes for later goes through here."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from components import disk

CHUNK_BYTES = 1 << 20


def canonical(value: Any) -> bytes:
    """JSON of which equal values have equal bytes: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put these bytes at the path, whole or not at all, also through a power cut."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Put a value at the path as canonical JSON with a final newline."""
    write_bytes(path, canonical(value) + b"\n")


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Put an object at the path as canonical JSON with its own sha256 under `seal`."""
    write_json(path, {**value, "seal": hashlib.sha256(canonical(value)).hexdigest()})


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` put at the path, without its seal.

    Raises:
        ValueError: the bytes are not those that were written.
        OSError: they cannot be read.
    """
    text = path.read_bytes()
    try:
        value = json.loads(text)
        seal = value.pop("seal")
        body = canonical(value)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} holds no sealed JSON") from error
    if hashlib.sha256(body).hexdigest() != seal or canonical({**value, "seal": seal}) != text[:-1]:
        raise ValueError(f"the seal of {path} does not fit its content")
    return value


def copy(source: Path, target: Path) -> None:
    """Put a copy of a file at the target, whole or not at all."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    Raises:
        ResourceError: the disk is full or refuses the write; what was at `path` is untouched.
    """
    with disk.told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def append_line(path: Path, line: bytes, *, durable: bool = True) -> None:
    """Add a line to an append-only file; a durable one is on the disk before this returns.

    A torn last line, left by a power cut, is cut off first: it never was a line.

    Raises:
        ResourceError: the disk is full or refuses the write; the file ends with its last line.
    """
    with disk.told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = _cut(file)
            whole = line.rstrip(b"\n") + b"\n"
            try:
                if file.write(whole) != len(whole):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
                if durable:
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise


def _cut(file: Any) -> int:
    """Cut a torn last line off an open file: its size then, in bytes."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return 0
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return size
    file.seek(0)
    size = file.read().rfind(b"\n") + 1
    file.truncate(size)
    return size


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a process holds this lock alone now."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock that the kernel frees when its holder dies: alone, or beside others who share.

    Raises:
        ResourceError: there is no room for the lock's file.
    """
    with ExitStack() as held:
        with disk.told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(path.open("a"))
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield

"""A copy of the whole home in one file, made while runs go on.

What names others is copied before what it names, as in a home nothing is named before it is there:
so everything that the copy names, the copy holds. Databases are copied by SQLite itself.

The file is a tar, compressed: first `athanor-backup.json` (what it is), then the members, last
`manifest.json` with size and sha256 of each, and its own, without which nothing is believed.
"""

import gzip
import hashlib
import io
import os
import secrets
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components import databases, files
from components.errors import IntegrityError, ResourceError, UsageError
from components.keeping import layouts, moved
from components.records import Record

FORMAT = 1
HEADER, MANIFEST = "athanor-backup.json", "manifest.json"
LEVEL = 1
"""Of gzip: weights hardly shrink, and a higher level costs several times as long."""
FIRST = ("tracking", "cache", "plans", "runs", "decisions", "history")
"""Copied before the databases, in this order: what they name is in the databases or comes later."""
PASSING = ("locks", "servers.json", "upgrades", "objects/verified", "prefect/embedded.json")
"""No state: locks, processes, copies of earlier layouts, and marks that hold for one disk."""
SUFFIXES = (".lock", ".part", "-wal", "-shm", "-journal")
SQLITE = b"SQLite format 3\x00"
DUMPS = "postgres"
"""Folder of what a server's databases held, as pg_restore reads it."""

Dump = Callable[[Path], list[Path]]


def _nothing(folder: Path) -> list[Path]:
    """The home keeps nothing on a server."""
    return []


class Saved(Record):
    """A copy that was made."""

    file: str
    size_bytes: int
    members: int
    home_bytes: int
    """Of the members, before compression."""
    layout: int


def save(home: Path, target: Path, inside: bool = False, dump: Dump = _nothing) -> Saved:
    """Write a copy of the home to a file that does not exist yet, whole or not at all.

    `dump` writes into a folder what the home keeps on a server: it is copied at the moment at
    which databases are.

    Raises:
        IntegrityError: a database of the home is damaged.
        ResourceError: the disk is full, or a file cannot be read.
        UsageError: the file exists or lies in the home.
    """
    if target.exists():
        raise UsageError(f"{target} exists, and nothing is overwritten", "name another file")
    if not inside and target.resolve().is_relative_to(home):
        raise UsageError(f"{target} lies in the home that it would copy", "name a file elsewhere")
    header = {
        "format": FORMAT,
        "layout": layouts.found(home),
        "home": str(home),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(target, 0o600) as temporary:
            manifest = _write(home, temporary, header, dump)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise ResourceError(
            f"{home} could not be copied to {target}: {error.strerror or error}{where}",
            "free some space there or name a file on another disk; see: athanor doctor",
        ) from error
    return Saved(
        file=str(target),
        size_bytes=target.stat().st_size,
        members=len(manifest),
        home_bytes=sum(entry["size_bytes"] for entry in manifest.values()),
        layout=header["layout"],
    )


def _write(home: Path, target: Path, header: dict[str, Any], dump: Dump) -> dict[str, Any]:
    """Write the copy; what it holds, by name."""
    writer = _Writer(home)
    with (
        tempfile.TemporaryDirectory(prefix=".athanor-backup-", dir=target.parent) as scratch,
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        writer.tar = tar
        writer.bytes(HEADER, files.canonical(header))
        # What was shipped must not be ahead of the database: a repeated point is not doubled.
        writer.some(path for path in _walk(home, "work") if path.name.endswith(".shipped.json"))
        for name in FIRST:
            writer.some(_walk(home, name))
        for path in dump(Path(scratch)):
            writer.file(path, f"{DUMPS}/{path.name}", 0o600)
        databases = [path for path in _walk(home) if _is_database(home, path)]
        copies = {path: _copied(path, Path(scratch)) for path in databases}
        for path, copy in copies.items():
            writer.file(copy, path.relative_to(home).as_posix(), 0o600)
        writer.some(path for path in _walk(home) if path not in copies)
        sealed = {"members": writer.manifest, "seal": seal(writer.manifest)}
        writer.bytes(MANIFEST, files.canonical(sealed))
    return writer.manifest


def seal(manifest: dict[str, Any]) -> str:
    """sha256 of what the manifest says, which stands beside it."""
    return hashlib.sha256(files.canonical(manifest)).hexdigest()


class _Writer:
    """The members of a copy, each once."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.manifest: dict[str, Any] = {}
        self.tar: tarfile.TarFile

    def some(self, paths: Iterator[Path]) -> None:
        """These files, unless they are there already or gone meanwhile."""
        for path in paths:
            name = path.relative_to(self.home).as_posix()
            if name not in self.manifest:
                with suppress(FileNotFoundError):
                    self.file(path, name)

    def file(self, path: Path, name: str, mode: int | None = None) -> None:
        """One file as long as it is now: a journal may grow meanwhile."""
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = status.st_size, status.st_mtime
            entry.mode = status.st_mode & 0o777 if mode is None else mode
            reader = _Hashing(file, status.st_size)
            self.tar.addfile(entry, reader)  # type: ignore[arg-type]
        self.manifest[name] = {
            "sha256": reader.digest.hexdigest(),
            "size_bytes": status.st_size,
            "mode": entry.mode,
            "changed": entry.mtime,
        }

    def bytes(self, name: str, content: bytes) -> None:
        """A member of ours about the copy itself."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o600
        self.tar.addfile(entry, io.BytesIO(content))
        if name == HEADER:
            self.manifest[name] = {
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_bytes": len(content),
                "mode": 0o600,
                "changed": 0,
            }


class _Hashing:
    """A file that is hashed as it is read, and ends where it ended when it was opened.

    Raises:
        OSError: it became shorter, which files of the home never do.
    """

    def __init__(self, file: Any, size: int) -> None:
        self.digest = hashlib.sha256()
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        self._left -= len(data)
        self.digest.update(data)
        return data


def _walk(home: Path, part: str = "") -> Iterator[Path]:
    """Plain files of the home, or of a part of it, that are state; sorted; links are none."""
    try:
        entries = sorted(os.scandir(home / part), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    theirs = Path(part).is_relative_to(moved.ARTIFACTS)  # MLflow's and its users': all of it
    for entry in entries:
        name = f"{part}/{entry.name}".lstrip("/")
        if name in PASSING or (not theirs and entry.name.endswith(SUFFIXES)):
            continue
        if entry.is_dir(follow_symlinks=False):
            if theirs or not entry.name.startswith("."):
                yield from _walk(home, name)
        elif entry.is_file(follow_symlinks=False):
            yield home / name


def _is_database(home: Path, path: Path) -> bool:
    if path.suffix != ".db" or len(path.relative_to(home).parts) != 2:
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False


def _copied(database: Path, scratch: Path) -> Path:
    """A consistent copy of a database that others write to."""
    copy = scratch / f"{secrets.token_hex(8)}.db"
    try:
        with (
            databases.reading(database, timeout_s=60) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
            [(answer,)] = target.execute("PRAGMA quick_check(1)")
    except sqlite3.DatabaseError as error:
        answer = str(error)
    if answer != "ok":
        raise IntegrityError(f"{database} is damaged: {answer}", "athanor doctor")
    return copy

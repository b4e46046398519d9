"""A home made of its copy: every byte verified first, nothing of the user's overwritten."""

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from components import files
from components.errors import IntegrityError, ResourceError, UsageError
from components.keeping import layouts, moved
from components.keeping.backup import FORMAT, HEADER, MANIFEST, seal
from components.records import Record

MAX_LIST_BYTES = 256 << 20


class Restored(Record):
    """A home that was put in place."""

    home: str
    members: int
    home_bytes: int
    made_at: str
    """UTC: when the copy was made."""
    aside: str
    """Where the home that was there lies now; empty where there was none."""


def restore(source: Path, home: Path, replace: bool = False) -> Restored:
    """Make a home of a copy, after every byte of the copy was verified.

    Raises:
        IntegrityError: the file is damaged, of a newer layout, or no copy of a home.
        ResourceError: the disk is full, or a process uses the home that is there.
        UsageError: there is no such file, or a home is there and `replace` is not said.
    """
    there = home.is_dir() and any(path.name != "layout" for path in home.iterdir())
    if there and not replace:
        raise UsageError(
            f"{home} holds a home already",
            f"athanor restore {source} --replace  moves it aside, or name a folder in ATHANOR_HOME",
        )
    if not source.is_file():
        raise UsageError(f"there is no file {source}", "name one that athanor backup wrote")
    try:
        with _staging(home) as staging:
            header, manifest = _read(source, staging)
            _private(staging)
            moved.settle(staging, home)
            aside = _cleared(home, there)
            staging.rename(home)
            files.sync_folder(home.parent)
    except OSError as error:
        raise ResourceError(
            f"{source} could not be put at {home}: {error.strerror or error}",
            "free some space, or name another folder in ATHANOR_HOME",
        ) from error
    return Restored(
        home=str(home),
        members=len(manifest),
        home_bytes=sum(entry["size_bytes"] for entry in manifest.values()),
        made_at=header["made_at"],
        aside=aside,
    )


@contextmanager
def _staging(home: Path) -> Iterator[Path]:
    """An empty private folder beside the home, held by this process; a killed one's is cleared."""
    folder = home.with_name(f".{home.name}.restoring")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ResourceError(
            f"another restore works in {folder}", "wait for it, then look: athanor doctor"
        ) from None
    try:
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _cleared(home: Path, there: bool) -> str:
    """Make room for the home; where the one that is there lies then, empty where there is none."""
    if not there:
        if home.is_dir():
            (home / "layout").unlink(missing_ok=True)
            home.rmdir()
        return ""
    if layouts.in_use(home):
        raise ResourceError(
            f"a run or a server works in {home}",
            "stop it (Ctrl-C, athanor down), then run the same command again",
        )
    names = (home.with_name(f"{home.name}.old-{number}") for number in count(1))
    aside = next(path for path in names if not path.exists())
    home.rename(aside)
    return str(aside)


def _read(source: Path, staging: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take every member out into the folder, hold all against the manifest."""
    header: dict[str, Any] = {}
    manifest: dict[str, Any] | None = None
    found: dict[str, dict[str, Any]] = {}
    try:
        with gzip.open(source) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                if manifest is not None:
                    raise _damaged(source, f"{member.name} follows the manifest")
                if not header and member.name != HEADER:
                    raise _damaged(source, f"it does not begin with {HEADER}")
                _demand_plain(source, member, found)
                stream = tar.extractfile(member)
                assert stream is not None
                if member.name in (HEADER, MANIFEST):
                    if member.size > MAX_LIST_BYTES:
                        raise _damaged(source, f"{member.name} has {member.size} bytes")
                    content = stream.read()
                    if member.name == MANIFEST:
                        manifest = _sealed(source, content)
                        continue
                    header = _header(source, content)
                    found[HEADER] = _entry(hashlib.sha256(content).hexdigest(), len(content))
                else:
                    found[member.name] = _taken(stream, staging / member.name)
            while packed.read(files.CHUNK_BYTES):
                pass  # to its end, where gzip's own sum is
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        ValueError,
        KeyError,
    ) as error:
        raise _damaged(source, str(error)) from error
    if manifest is None:
        raise _damaged(source, "its end is missing")
    _demand_alike(source, manifest, found)
    for name in manifest.keys() - {HEADER}:
        entry, path = manifest[name], staging / name
        path.chmod(int(entry["mode"]) & 0o777)
        os.utime(path, (entry["changed"], entry["changed"]))
    return header, manifest


def _sealed(source: Path, content: bytes) -> dict[str, Any]:
    """The manifest's entries, if they are the ones that were written."""
    value = json.loads(content)
    if seal(value["members"]) != value["seal"]:
        raise _damaged(source, f"{MANIFEST} has changed")
    return value["members"]


def _header(source: Path, content: bytes) -> dict[str, Any]:
    header = json.loads(content)
    if header["format"] > FORMAT or header["layout"] > layouts.LAYOUT:
        raise IntegrityError(
            f"{source} was made by a newer Athanor (format {header['format']}, layout "
            f"{header['layout']}; this one knows {FORMAT} and {layouts.LAYOUT})",
            "update the clone (git pull), then restore",
        )
    return header


def _demand_plain(source: Path, member: tarfile.TarInfo, found: dict[str, Any]) -> None:
    """Refuse what is no plain file inside the home, before anything of it is written."""
    path = PurePosixPath(member.name)
    if not member.isreg():
        raise _damaged(source, f"{member.name!r} is no plain file")
    if path.is_absolute() or ".." in path.parts or str(path) != member.name or not path.parts:
        raise _damaged(source, f"{member.name!r} leads out of the home")
    if member.name in found:
        raise _damaged(source, f"{member.name!r} stands twice")


def _taken(stream: Any, target: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        while chunk := stream.read(files.CHUNK_BYTES):
            digest.update(chunk)
            size += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return _entry(digest.hexdigest(), size)


def _entry(sha256: str, size_bytes: int) -> dict[str, Any]:
    return {"sha256": sha256, "size_bytes": size_bytes}


def _demand_alike(source: Path, manifest: dict[str, Any], found: dict[str, Any]) -> None:
    for name in sorted(manifest.keys() | found.keys()):
        if name not in found:
            raise _damaged(source, f"{name} is missing")
        if name not in manifest:
            raise _damaged(source, f"{name} is not in its manifest")
        expected = {field: manifest[name][field] for field in ("sha256", "size_bytes")}
        if expected != found[name]:
            raise _damaged(source, f"the bytes of {name} are not those of its manifest")


def _damaged(source: Path, reason: str) -> IntegrityError:
    return IntegrityError(f"{source} is no whole copy of a home: {reason}", "take another copy")


def _private(folder: Path) -> None:
    for each in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        each.chmod(0o700)
        files.sync_folder(each)

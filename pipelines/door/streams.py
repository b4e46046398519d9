"""Journals that arrive from another machine: every byte once, in order, whoever was killed.

A try of a step has a stream, the bytes of its own journal. They are added to the step's journal
in this home. How much of a stream is here follows from the journal's size: what was noted at the
stream's begin never has to be written again, so there is no moment between bytes and their count.
"""

import fcntl
import os
import re
import uuid
from pathlib import Path

from components import disk, files
from components.errors import UsageError
from components.records import Record

DEEPEST = 4
PART = re.compile(r"[\w+-][\w.+ -]{0,120}")
KEPT = frozenset({"journal.jsonl", "journal.shipped.json", "outcome.json", "stream.json"})
"""Files of a step's folder that no report may replace."""


class Ahead(Exception):
    """The bytes do not follow those that are here; `received` says where to go on."""

    def __init__(self, received: int) -> None:
        super().__init__(received)
        self.received = received


class Streams(Record):
    """What a step's journal is made of."""

    place: str
    """Names the folder: it is another one after the folder was dropped and made again."""
    current: str = ""
    at: int = 0
    """Bytes of the current stream that were here when the journal had ..."""
    size: int = 0
    """... this size."""
    earlier: dict[str, int] = {}
    """Bytes that came of streams before the current one."""


def place(folder: Path) -> str:
    """The name of a step's folder, made with it."""
    return _load(folder).place


def received(folder: Path, stream: str) -> int:
    """Bytes of a stream that are here."""
    state = _load(folder)
    if state.current == stream:
        return state.at + max(0, _size(folder) - state.size)
    return state.earlier.get(stream, 0)


def append(folder: Path, stream: str, at: int, data: bytes) -> int:
    """Add what is new of these bytes of a stream, which begin there at `at`; bytes here then.

    Raises:
        Ahead: bytes before them are missing.
        ResourceError: the disk is full; the next request goes on where it ended.
    """
    journal = folder / "journal.jsonl"
    with disk.told(journal), journal.open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _enter(folder, stream)
        here = received(folder, stream)
        if at > here:
            raise Ahead(here)
        new = memoryview(data)[here - at :]
        while new:
            new = new[os.write(file.fileno(), new) :]
        return max(here, at + len(data))


def close(folder: Path) -> None:
    """No stream comes in any more: what a process of this home now adds is counted to none."""
    state = _load(folder)
    if state.current:
        earlier = {**state.earlier, state.current: received(folder, state.current)}
        ended = {"current": "", "at": 0, "size": _size(folder), "earlier": earlier}
        files.write_json(folder / "stream.json", state.model_copy(update=ended).model_dump())


def target(folder: Path, name: str) -> Path:
    """Where a file that a journal names is put.

    Raises:
        UsageError: it would lie elsewhere, or in place of what is not a step's.
    """
    parts = name.split("/")
    fine = all(PART.fullmatch(part) for part in parts) and len(parts) <= DEEPEST
    if not fine or name in KEPT:
        raise UsageError(f"a journal names the file {name!r}", "")
    return folder.joinpath(*parts)


def _enter(folder: Path, stream: str) -> None:
    """Make a stream the current one."""
    if _load(folder).current == stream:
        return
    close(folder)
    state = _load(folder)
    begun = {"current": stream, "at": state.earlier.get(stream, 0), "size": _size(folder)}
    files.write_json(folder / "stream.json", state.model_copy(update=begun).model_dump())


def _load(folder: Path) -> Streams:
    try:
        return Streams.model_validate_json((folder / "stream.json").read_bytes())
    except (OSError, ValueError):
        made = Streams(place=uuid.uuid4().hex, size=_size(folder))
        files.write_json(folder / "stream.json", made.model_dump())
        return made


def _size(folder: Path) -> int:
    try:
        return (folder / "journal.jsonl").stat().st_size
    except OSError:
        return 0

"""A shard as it arrives: JSON lines of a text and its label, an `id` where the sender has one."""

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from components.data.reviews import normalised
from components.data.splits import Shares, by_content
from components.errors import DataRejected, UsageError
from components.records import Record

SHARES = Shares(train=0.8, val=0.1)
"""Of every new row, whatever the shares of the rows before: a row's split must never change."""

LARGEST_BYTES = 1 << 30
LONGEST_LINE_BYTES = 1 << 20
FIELDS = ("text", "label")


class Shard(NamedTuple):
    """A file whose bytes were read once: nothing that happens to it afterwards counts."""

    path: Path
    sha256: str
    content: bytes


class Row(Record):
    """One new row, and where it stood."""

    place: str
    """`reviews.jsonl:7`."""
    id: str
    text: str
    label: str

    @property
    def said(self) -> str:
        """What it says without its dress; a text of punctuation alone is taken as it is."""
        return normalised(self.text) or self.text

    @property
    def split(self) -> str:
        """Decided by what it says and by nothing else; all that is punctuation alone together."""
        return by_content(normalised(self.text).encode(), SHARES)


def read(path: Path) -> Shard:
    """A shard's bytes.

    Raises:
        UsageError: there is no such file, or it is no plain file or too large.
        DataRejected: somebody writes to it at this moment.
    """
    try:
        before = path.stat()
        if not path.is_file() or before.st_size > LARGEST_BYTES:
            raise UsageError(
                f"{path} is no plain file of at most 1 GiB", "name a file of JSON lines"
            )
        content = path.read_bytes()
        after = path.stat()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", f"ls -l {path}") from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataRejected(
            f"{path} is being written to", "write it elsewhere, then move it here with mv"
        )
    return Shard(path, hashlib.sha256(content).hexdigest(), content)


def rows(shard: Shard, labels: Collection[str]) -> Iterator[Row]:
    """Every row of a shard.

    Raises:
        DataRejected: a line is malformed; file, line and reason are named.
    """
    name = shard.path.name
    if not shard.content.strip():
        raise DataRejected(f"{name}: the file is empty")
    for number, line in enumerate(shard.content.removesuffix(b"\n").split(b"\n"), start=1):
        yield _row(f"{name}:{number}", line, labels)


def _row(place: str, line: bytes, labels: Collection[str]) -> Row:
    if len(line) > LONGEST_LINE_BYTES:
        raise DataRejected(f"{place}: {len(line)} bytes in one line, at most 1 MiB")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataRejected(f"{place}: not JSON: {error}") from None
    if not isinstance(found, dict) or set(found) - {"id"} != set(FIELDS):
        shown = ", ".join(sorted(found)) if isinstance(found, dict) else type(found).__name__
        raise DataRejected(f"{place}: wanted text, label and perhaps id, found {shown}")
    for field, value in found.items():
        if not isinstance(value, str) or not value.strip():
            raise DataRejected(f"{place}: {field} is {value!r}, wanted a string with content")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise DataRejected(f"{place}: {field} holds half of a surrogate pair")
    if found["label"] not in labels:
        known = ", ".join(sorted(labels))
        raise DataRejected(f"{place}: label {found['label']!r} is none of: {known}")
    text = found["text"].strip()
    named = found.get("id") or hashlib.sha256(text.encode()).hexdigest()[:16]
    return Row(place=place, id=named, text=text, label=found["label"])

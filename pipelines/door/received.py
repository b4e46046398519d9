"""What arrives and what is asked for, held against this home and its data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components import objects, project
from components.data import pointer
from components.records import Record
from pipelines.keys import named_objects
from pipelines.workers import parcels
from pipelines.workers.parcels import Outcome


def all_objects(record: Any) -> tuple[str, ...]:
    """sha256 of every object of a result: those of its files, and the reports that it shows."""
    return tuple(dict.fromkeys((*named_objects(record), *_shown(record))))


def lacking(outcome: Outcome) -> tuple[str, ...]:
    """Objects that a result names and this home lacks; none of an error."""
    if outcome.state != "done":
        return ()
    record = parcels.unpacked(outcome.value)
    return tuple(sha for sha in all_objects(record) if not objects.intact(sha))


def recorded_file(md5: str) -> Path | None:
    """A file of `data/` that is recorded with this md5; None where none is here."""
    root = project.root()
    for path, file in pointer.recorded(root).files.items():
        place = root / "data" / path
        if file.md5 == md5 and place.is_file() and place.stat().st_size == file.size_bytes:
            return place
    return None


def _shown(value: Any) -> Iterator[str]:
    """Reports stand in the circumstances of a record, at any depth."""
    if isinstance(value, Record):
        for field in type(value).model_fields:
            part = vars(value)[field]
            if field == "facts" and isinstance(part, dict):
                yield from part.get("files", {}).values()
            else:
                yield from _shown(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _shown(part)
    elif isinstance(value, dict):
        yield from _shown(list(value.values()))

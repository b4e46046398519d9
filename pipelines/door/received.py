"""What arrives and what is asked for, held against this home and its data."""

from pathlib import Path
from typing import Any

from components import objects, project
from components.data import pointer
from pipelines.keys import every, named_objects
from pipelines.workers import parcels
from pipelines.workers.parcels import Outcome


def all_objects(record: Any) -> tuple[str, ...]:
    """sha256 of every object of a result: those of its files, and the reports that it shows."""
    shown = [sha for facts in every(record, "facts") for sha in facts.get("files", {}).values()]
    return tuple(dict.fromkeys((*named_objects(record), *shown)))


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

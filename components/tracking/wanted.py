"""What MLflow is to show of a run, kept on the disk until it does.

A note per run lies in `<home>/tracking/`. It goes when the server has everything, so that what a
kill or an outage left behind is exactly the notes that are there.
"""

import json
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from components import files, processes, project

_saving = threading.Lock()
"""Whoever writes a note last has also looked last: two threads know each note."""


class Wanted(BaseModel):
    """A run as it should stand in MLflow; the `sent_` fields say how far that is done."""

    model_config = ConfigDict(extra="forbid")

    handle: str
    uri: str
    experiment: str
    name: str
    parent: str = ""
    """Handle of the run above."""
    parent_run_id: str = ""
    owner: str
    started_ms: int
    tags: dict[str, str] = {}
    params: dict[str, str] = {}
    metrics: dict[str, float] = {}
    """Values of the whole run, such as `final/test_accuracy`."""
    datasets: list[dict[str, Any]] = []
    model: dict[str, Any] = {}
    """Name, params and metrics of the one LoggedModel of a variant's run."""
    journal: str = ""
    until: int | None = None
    """Bytes of the journal that are this run's; what a later run adds is that one's."""
    status: str = ""
    """FINISHED, FAILED or KILLED; empty while the run goes on."""
    ended_ms: int = 0

    run_id: str = ""
    tried: bool = False
    """A creation was sent; where no run id came back, the run may exist all the same."""
    doubtful: bool = False
    """An answer was lost: what was asked for may be there twice, and is looked for at the end."""
    sent: dict[str, str] = {}
    """Digest of each part that arrived; replaced, never changed in place: two threads read it."""
    model_id: str = ""

    @property
    def cared_for(self) -> bool:
        """Whether a process that may live looks after it."""
        return bool(self.owner) and not processes.dead(self.owner)

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that are sent whole, in the order of sending."""
        return {
            "params": self.params,
            "tags": self.tags,
            "datasets": self.datasets,
            "metrics": self.metrics,
        }

    def end(self, status: str, ended_ms: int) -> None:
        """The run is over, and so is its part of the journal."""
        self.status, self.ended_ms = status, ended_ms
        if self.journal and self.until is None:
            journal = Path(self.journal)
            self.until = journal.stat().st_size if journal.exists() else 0

    def save(self) -> None:
        """Put the note on the disk."""
        with _saving:
            files.write_json(place(self.handle), self.model_dump(mode="json"))

    def forget(self) -> None:
        """The server has everything."""
        place(self.handle).unlink(missing_ok=True)
        if Path(self.journal).parent == folder() / "journals":
            for file in (Path(self.journal), Path(self.journal).with_suffix(".shipped.json")):
                file.unlink(missing_ok=True)


def new_handle() -> str:
    """A name for a run that holds before the server knows the run."""
    return uuid.uuid4().hex


def folder() -> Path:
    """Where the notes lie."""
    return project.home() / "tracking"


def place(handle: str) -> Path:
    """Where the note of a run lies."""
    return folder() / f"{handle}.json"


def adopt(uri: str) -> list[Wanted]:
    """Notes for this store that no living process looks after; from now on this one does.

    Runs that their process did not end are KILLED.
    """
    found: list[Wanted] = []
    if not any(folder().glob("*.json")):
        return found
    with files.locked(project.home() / "locks" / "tracking.lock"):
        for wanted in noted():
            if wanted.uri == uri and not wanted.cared_for:
                wanted.owner = processes.this()
                if not wanted.status:
                    wanted.end("KILLED", wanted.ended_ms)
                wanted.save()
                found.append(wanted)
    return found


def noted() -> list[Wanted]:
    """Every note of the home, the oldest run first."""
    found = [_read(note) for note in folder().glob("*.json")]
    return sorted((one for one in found if one), key=lambda one: (one.started_ms, one.handle))


def keep_journal(journal: Path, mine: Iterable[Wanted]) -> None:
    """Put a journal that is about to be deleted aside for the notes that still refer to it.

    `mine` are the notes that this process looks after.
    """
    held = {wanted.handle: wanted for wanted in mine}
    with files.locked(project.home() / "locks" / "tracking.lock"):
        for wanted in [held.get(one.handle, one) for one in noted()]:
            if wanted.journal == str(journal.resolve()) and journal.exists():
                if wanted.until is None:
                    wanted.until = journal.stat().st_size
                copy = folder() / "journals" / f"{wanted.handle}.jsonl"
                files.copy(journal, copy)
                wanted.journal = str(copy)
                wanted.save()


def _read(note: Path) -> Wanted | None:
    try:
        return Wanted.model_validate(json.loads(note.read_bytes()))
    except (OSError, ValueError):
        return None

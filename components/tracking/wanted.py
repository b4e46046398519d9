"""What MLflow is to show of a run, kept on the disk until it does.

A note per run lies in `<home>/tracking/`. It goes when the server has everything, so that what a
kill or an outage left behind is exactly the notes that are there.
"""

import json
import threading
import uuid
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
    status: str = ""
    """FINISHED, FAILED or KILLED; empty while the run goes on."""
    ended_ms: int = 0

    run_id: str = ""
    tried: bool = False
    """A creation was sent; where no run id came back, the run may exist all the same."""
    sent: dict[str, str] = {}
    """Digest of each part that arrived; replaced, never changed in place: two threads read it."""
    model_id: str = ""

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that are sent whole, in the order of sending."""
        return {
            "params": self.params,
            "tags": self.tags,
            "datasets": self.datasets,
            "metrics": self.metrics,
        }

    def save(self) -> None:
        """Put the note on the disk."""
        with _saving:
            files.write_json(place(self.handle), self.model_dump(mode="json"))

    def forget(self) -> None:
        """The server has everything."""
        place(self.handle).unlink(missing_ok=True)


def new_handle() -> str:
    """A name for a run that holds before the server knows the run."""
    return uuid.uuid4().hex


def place(handle: str) -> Path:
    """Where the note of a run lies."""
    return project.home() / "tracking" / f"{handle}.json"


def adopt(uri: str) -> list[Wanted]:
    """Notes for this store that no living process looks after; from now on this one does.

    Runs that their process did not end are KILLED.
    """
    folder = project.home() / "tracking"
    found: list[Wanted] = []
    if not any(folder.glob("*.json")):
        return found
    with files.locked(project.home() / "locks" / "tracking.lock"):
        for note in sorted(folder.glob("*.json")):
            wanted = _read(note)
            if wanted is None or wanted.uri != uri:
                continue
            if wanted.owner and not processes.dead(wanted.owner):
                continue
            wanted.owner = processes.this()
            wanted.status = wanted.status or "KILLED"
            wanted.save()
            found.append(wanted)
    return sorted(found, key=lambda wanted: wanted.started_ms)


def _read(note: Path) -> Wanted | None:
    try:
        return Wanted.model_validate(json.loads(note.read_bytes()))
    except (OSError, ValueError):
        return None

"""The steps that workers of other machines have: a file each, until Prefect shows the end."""

from pathlib import Path

from components import files
from components.errors import AthanorError
from components.records import Record


class NotWanted(AthanorError):
    """Nobody waits for this step here any more."""

    exit_code = 6


class Assignment(Record):
    """A step that a worker has."""

    flow_run_id: str
    name: str
    key: str
    worker: str
    ended: bool = False
    """Its process died and left nothing."""
    done: str = ""
    """State of its outcome, once that is here."""


class Assignments:
    """All of them, in memory and on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Assignment] = {}
        for path in sorted(folder.glob("*.json")):
            try:
                found = Assignment.model_validate_json(path.read_bytes())
                self._known[found.flow_run_id] = found
            except (OSError, ValueError):
                path.unlink(missing_ok=True)

    def __contains__(self, flow_run_id: str) -> bool:
        return flow_run_id in self._known

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of their flow runs."""
        return tuple(self._known)

    def get(self, flow_run_id: str) -> Assignment | None:
        """Who has a step; None: nobody elsewhere."""
        return self._known.get(flow_run_id)

    def keep(self, assignment: Assignment) -> None:
        """Remember it through any death."""
        path = self._folder / f"{assignment.flow_run_id}.json"
        files.write_json(path, assignment.model_dump(mode="json"))
        self._known[assignment.flow_run_id] = assignment

    def note(self, flow_run_id: str, **facts: object) -> None:
        """Change what is known of one; nothing where there is none."""
        if found := self._known.get(flow_run_id):
            self.keep(found.model_copy(update=facts))

    def forget(self, flow_run_id: str) -> None:
        """Its end is known everywhere."""
        (self._folder / f"{flow_run_id}.json").unlink(missing_ok=True)
        self._known.pop(flow_run_id, None)

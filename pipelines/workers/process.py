"""Which process executes which flow run: a file each, written by that process.

The next worker finds by them what an earlier one left behind.
"""

from pathlib import Path

from components import files, processes, project
from components.records import Record


class AtWork(Record):
    """A flow run that a process of this home executes."""

    flow_run_id: str
    flow: str
    owner: str
    """Host, boot, number and start of the process."""
    devices: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    """Names of the slots or devices that it holds."""
    step: str = ""
    """The step that it executes; empty for a run."""
    key: str = ""
    """Of that step: its outcome lies under it."""
    run: str | None = None
    """The run of the home that it works on, once that is known."""

    @property
    def dead(self) -> bool:
        """Whether its process is gone."""
        return processes.dead(self.owner)


mine: list[AtWork] = []
"""What this very process executes; empty in every other one."""


def folder() -> Path:
    """Where the files of the flow runs at work lie."""
    return project.home() / "worker" / "at-work"


def at_work() -> tuple[AtWork, ...]:
    """The flow runs that processes of this home execute, or executed until they died."""
    found = []
    for path in sorted(folder().glob("*.json")):
        try:
            found.append(AtWork.model_validate_json(path.read_bytes()))
        except (OSError, ValueError):
            continue
    return tuple(found)


def forget(flow_run_id: str) -> None:
    """Its end is known everywhere."""
    (folder() / f"{flow_run_id}.json").unlink(missing_ok=True)


def note(work: AtWork) -> None:
    """Let the worker, and the next one, know what this process executes."""
    mine[:] = [work]
    files.write_json(folder() / f"{work.flow_run_id}.json", work.model_dump(mode="json"))


def tags() -> tuple[str, ...]:
    """Where this process works, as tags of its flow run."""
    work = mine[0]
    places = [f"device:{name}" for name in work.devices] or ["device:cpu"]
    return (f"worker:{processes.host(work.owner)}", *places)

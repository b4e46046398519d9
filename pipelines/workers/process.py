"""The process of one flow run: forked warm, alone with its places, known by a file.

It is a session of its own, so it outlives the worker that forked it: a step goes on, tells its
outcome, and the next worker finds it by its file.
"""

import os
import traceback
from pathlib import Path

from components import files, processes, project
from components.records import Record
from pipelines.workers.places import Held

PRELOAD = ("prefect.main", "prefect.flow_engine", "pipelines.workers.flows")
"""Beside the libraries of the steps; none of them starts a thread or touches a device."""


class AtWork(Record):
    """A flow run that a process of this home executes."""

    flow_run_id: str
    flow: str
    owner: str
    """Host, boot, number and start of the process."""
    devices: tuple[str, ...] = ()
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


def main(flow_run_id: str, flow: str, held: Held | None) -> None:
    """Execute a flow run of the table; its state in Prefect says how it ended."""
    os.setsid()
    devices = held.devices if held else ()
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    note(AtWork(flow_run_id=flow_run_id, flow=flow, owner=processes.this(), devices=devices))
    log = project.home() / "logs" / "worker.log"
    try:
        _run(flow_run_id, flow)
    except BaseException as error:
        if not isinstance(error, Exception):
            raise
        with log.open("a") as out:
            out.write(f"{flow} {flow_run_id}\n{traceback.format_exc()}\n")
        raise SystemExit(1) from None


def _run(flow_run_id: str, flow: str) -> None:
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow_sync

    from pipelines.workers.flows import FLOWS

    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(flow_run_id))
    run_flow_sync(FLOWS[flow], flow_run=found, parameters=found.parameters, return_type="state")

"""The process of one flow run: forked warm, alone with its places.

It is a session of its own, so it outlives the worker that forked it: a step goes on and tells its
outcome.
"""

import traceback
from typing import Any

from components import processes, project
from pipelines import child, likeness
from pipelines.places import Held
from pipelines.workers.process import AtWork, note

PRELOAD = (
    "prefect.main",
    "prefect.flow_engine",
    "pipelines.workers.flows",
    "mlflow.tracking.client",  # with the stores three CPU seconds, which each run would pay
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)
"""Beside the libraries of the steps; none of them starts a thread or touches a device."""


def main(flow_run_id: str, flow: str, held: Held | None, code: str) -> None:
    """Execute a flow run of the table; its state in Prefect says how it ended.

    Where the source is no longer what this process was forked from (`code`), it ends at once and
    is tried again: a key is made from the text, and the result must be too.
    """
    child.forked()
    devices = held.devices if held else ()
    names = held.names if held else ()
    mine = AtWork(flow_run_id=flow_run_id, flow=flow, owner=processes.this(), devices=devices)
    note(mine.model_copy(update={"places": names}))
    if likeness.code() != code:
        raise SystemExit(1)
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

    from pipelines.workers import flows

    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(flow_run_id))
    chosen: Any = flows.FLOWS[flow]
    run_flow_sync(chosen, flow_run=found, parameters=found.parameters, return_type="state")

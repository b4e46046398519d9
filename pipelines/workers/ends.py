"""How what ended ended: a process that is gone, a flow run that nobody executes.

The file of a flow run at work stays until Prefect shows its end, so nothing is forgotten by a
kill or an outage: whoever is the worker next settles what is left.
"""

import logging
import os
import signal
import time
from typing import TYPE_CHECKING
from uuid import UUID

from components import processes, project
from pipelines import pools, runs
from pipelines.child import STOP_GRACE_S
from pipelines.runs import RunRecord
from pipelines.workers import parcels, process
from pipelines.workers.process import AtWork

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

LOOK_S = 2.0
log = logging.getLogger(__name__)
MOST_TRIES = 5
"""How often a run whose process died is begun again by itself, between two finished steps."""

CLAIM_S = 15.0
"""A claimed flow run has a process, and the process a file, long before."""

_looked: list[float] = [0.0]
_asked: dict[str, float] = {}
"""Flow runs whose process was asked to stop, and when."""


def settle(client: "SyncPrefectClient", worker: str) -> None:
    """Tell Prefect of the dead, and pass on to the living that they were cancelled."""
    known = process.at_work()
    for gone in (each for each in known if each.dead):
        _buried(client, gone)
    if time.monotonic() - _looked[0] < LOOK_S:
        return
    _looked[0] = time.monotonic()
    _stop_cancelled(client, [each for each in known if not each.dead])
    _free_claimed(client, worker, {each.flow_run_id for each in known})


def stop(living: AtWork) -> None:
    """Ask a process to stop; make it when its grace is over."""
    pid = int(living.owner.split(" ")[2])
    since = _asked.get(living.flow_run_id)
    if processes.of(pid) != living.owner:
        return
    if since is None:
        _asked[living.flow_run_id] = time.monotonic()
        os.kill(pid, signal.SIGTERM)
    elif time.monotonic() - since > STOP_GRACE_S:
        os.kill(pid, signal.SIGKILL)


def _buried(client: "SyncPrefectClient", gone: AtWork) -> None:
    """Show how the flow run of a dead process ended, and forget it."""
    from prefect.exceptions import ObjectNotFound

    try:
        run = client.read_flow_run(UUID(gone.flow_run_id))
    except ObjectNotFound:
        process.forget(gone.flow_run_id)
        return
    if run.state is not None and not run.state.is_final():
        _end(client, run, gone)
    if gone.flow != "step":
        _end_tasks(client, run)
    _asked.pop(gone.flow_run_id, None)
    process.forget(gone.flow_run_id)


def _end(client: "SyncPrefectClient", run: "FlowRun", gone: AtWork) -> None:
    from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, State

    state: State
    record = runs.load(gone.run) if gone.run else None
    if run.state is not None and run.state.is_cancelling():
        state = Cancelled(message="cancelled; its checkpoint is kept")
    elif gone.flow == "step":
        outcome = parcels.read(
            project.home() / "work" / str(run.parameters.get("key")) / "outcome.json", str(run.id)
        )
        if outcome is None:
            state = Crashed(message="its process died")
        elif outcome.state == "done":
            state = Completed(message="told after its process ended")
        else:
            state = Failed(message="told after its process ended")
    elif record is not None and record.state not in ("running", "crashed"):
        state = Crashed(message=f"{record.state}; athanor logs {record.id}")
    elif (run.run_count or 0) < MOST_TRIES * (1 + _executed(record)):
        state = AwaitingRetry(message="its process died; it goes on")
    else:
        state = Crashed(message=f"its process died {run.run_count} times")
    client.set_flow_run_state(run.id, state, force=True)
    log.info("%s %s: %s, %s", gone.flow, run.name, state.name, state.message)


def _executed(record: RunRecord | None) -> int:
    attempts = record.attempts if record else ()
    return sum(step.state == "executed" for each in attempts for step in each.steps)


def _end_tasks(client: "SyncPrefectClient", run: "FlowRun") -> None:
    """Task runs of a dead process do not end by themselves."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterId,
        TaskRunFilter,
        TaskRunFilterState,
        TaskRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    unfinished = [StateType.PENDING, StateType.RUNNING]
    tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=unfinished))
        ),
    )
    for task in tasks:
        client.set_task_run_state(task.id, Crashed(message="its process died"), force=True)


def _stop_cancelled(client: "SyncPrefectClient", living: list[AtWork]) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    ids = [UUID(each.flow_run_id) for each in living]
    if not ids:
        return
    found = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)))
    states = {str(run.id): run.state for run in found}
    for each in living:
        state = states.get(each.flow_run_id)
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            stop(each)


def _free_claimed(client: "SyncPrefectClient", worker: str, known: set[str]) -> None:
    """Flow runs that this worker claimed and then died before it forked: they begin again."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Scheduled

    pending = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING]))
    claimed = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=pending),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=list(pools.ABOUT))),
    )
    for run in claimed:
        state = run.state
        if state is None or state.message != worker or str(run.id) in known:
            continue
        if (time.time() - state.timestamp.timestamp()) > CLAIM_S:
            client.set_flow_run_state(run.id, Scheduled(message="claimed in vain"), force=True)
            log.info("%s was claimed in vain", run.name)

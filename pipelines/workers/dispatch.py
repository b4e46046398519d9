"""A run's end of the line: hand a step to a worker, and wait for what it comes to.

A step on a worker is a flow run of its own, made under the step's key and the number of the try:
a run that died and goes on joins the step that is still at work. The outcome is a file in the
step's folder; Prefect is asked now and then, for a step that will leave none.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from components import objects, project
from components.errors import Interrupted
from components.records import Record
from pipelines import outages, pools, searching
from pipelines.child import STOP_GRACE_S, StepBroken, StepCrashed
from pipelines.keys import Call, named_objects
from pipelines.resources import Resources, of
from pipelines.workers import calls, inventory, page, parcels

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

LOOK_S = 0.1
ASK_S = 2.0
LOST_S = 5.0
"""A step writes its outcome before its end is told: what is not there by now, nobody wrote."""
MOST_TRIES = 100


class Job(NamedTuple):
    """What a worker is asked for: a step, or a part of a search by several."""

    name: str
    key: str
    entry: str
    arguments: dict[str, Any]
    place: str
    """Folder inside the step's own, of a part that works beside others."""
    wanted: Resources

    @property
    def folder(self) -> Path:
        """Where its outcome will lie."""
        return project.home() / "work" / self.key / self.place

    @property
    def tries(self) -> str:
        """Beginning of the idempotency key of each try."""
        if self.wanted.parallel == 1:
            return self.key
        return "-".join(filter(None, (self.key, self.entry.partition(":")[2], self.place)))


def run(
    resources: Mapping[str, Resources], call: Call, key: str, watch: Callable[[], None]
) -> Record:
    """The record of a step that a worker executes; `watch` is called a few times a second.

    When the caller is interrupted, the step is asked to stop, gets time for a checkpoint, and the
    interruption goes on.

    Raises:
        ResourceError: no worker can ever do it.
        StepCrashed: the step's process died.
        Interrupted: somebody cancelled the step.
        StepBroken: it raised something that is no error of ours.
        AthanorError: the step's own error.
    """
    from prefect.client.orchestration import get_client

    whole = project.home() / "work" / key
    wanted = of(resources, call.name)
    known = inventory.known(project.home())
    inventory.demand(call.name, wanted, [each.inventory for each in known])
    with get_client(sync_client=True) as client:
        parent = _task_run(client)

    def part(entry: str, arguments: dict[str, Any], folder: Path, look: searching.Watch) -> Record:
        place = str(folder.relative_to(whole)) if folder != whole else ""
        return _done(Job(call.name, key, entry, arguments, place, wanted), parent, look)

    if wanted.parallel > 1:
        return searching.search(part, call.arguments, whole, wanted.parallel, watch)
    return part(call.entry, call.arguments, whole, watch)


def _done(job: Job, parent: UUID | None, watch: Callable[[], None]) -> Record:
    """The record of one job."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        submitted = _patiently(partial(_submitted, client, job, parent), watch)
        try:
            return _awaited(client, submitted, job.folder, watch)
        except Exception:
            raise
        except BaseException:  # an interruption, of the run or of a search's other workers
            _stop(client, submitted)
            raise


def _patiently(submit: Callable[[], "FlowRun"], watch: Callable[[], None]) -> "FlowRun":
    """What is submitted once the server answers: asked again, the same key gives the same run."""
    while True:
        try:
            return submit()
        except Exception as error:
            if not outages.away(error):
                raise
        watch()
        time.sleep(ASK_S)


def _submitted(client: "SyncPrefectClient", job: Job, parent: UUID | None) -> "FlowRun":
    """The flow run of the first try that did not fail yet."""
    parameters = {
        "name": job.name,
        "key": job.key,
        "entry": job.entry,
        "arguments": parcels.packed(job.arguments),
        "resources": job.wanted.model_dump(mode="json"),
        "place": job.place,
    }
    deployment = _deployment(str(client.api_url))
    for number in range(MOST_TRIES):
        made = client.create_flow_run_from_deployment(
            deployment,
            parameters=parameters,
            name=job.name,
            tags=[*page.tags(), f"key:{job.key[:12]}"],
            idempotency_key=f"{job.tries}-{number}",
            parent_task_run_id=parent,
        )
        calls.call()
        if made.state is None or not made.state.is_final():
            return made
        found = parcels.read(job.folder / "outcome.json", str(made.id))
        if found is not None and found.state == "done" and _whole(parcels.opened(found)):
            return made
    raise StepCrashed(f"{job.name} failed {MOST_TRIES} times under the key {job.key[:12]}")


def _whole(record: Record) -> bool:
    """Whether all files that an earlier outcome names are there: else its step is done again."""
    return all(objects.intact(sha) for sha in named_objects(record))


@cache
def _deployment(api: str) -> UUID:
    """Id of the deployment of steps on a server, which is asked once by a process."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return pools.deployed(client, "step")


def _task_run(client: "SyncPrefectClient") -> UUID | None:
    """The task run of this process, known to the server: it hears of tasks a little later."""
    from prefect.context import FlowRunContext, TaskRunContext

    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is None or flow is None or flow.flow_run is None:
        return None
    run = task.task_run
    made = client.create_task_run(
        task=task.task,
        flow_run_id=flow.flow_run.id,
        dynamic_key=run.dynamic_key,
        id=run.id,
        name=run.name,
        state=run.state,
    )
    return made.id


def _awaited(
    client: "SyncPrefectClient", submitted: "FlowRun", folder: Path, watch: Callable[[], None]
) -> Record:
    name = str(submitted.id)
    asked = time.monotonic()
    ended, since = None, asked
    while True:
        watch()
        if found := parcels.read(folder / "outcome.json", name):
            watch()
            return parcels.opened(found)
        now = time.monotonic()
        if ended is not None and now - since > LOST_S:
            raise StepBroken(f"{submitted.name} left no outcome: {ended.message or ended.name}")
        if now - asked > ASK_S:
            asked = now
            state = _state(client, submitted.id)
            if state is not None and state.is_final():
                if state.is_cancelled():
                    raise Interrupted(f"{submitted.name} was cancelled", "athanor retry RUN")
                if state.is_crashed():
                    raise StepCrashed(f"{submitted.name}: {state.message or state.name}")
                ended, since = (state, now) if ended is None else (ended, since)
        time.sleep(LOOK_S)


def _state(client: "SyncPrefectClient", flow_run_id: UUID) -> Any:
    """The state that the server tells; None while it is away."""
    try:
        return client.read_flow_run(flow_run_id).state
    except Exception as error:
        if outages.away(error):
            return None
        raise


def _stop(client: "SyncPrefectClient", submitted: "FlowRun") -> None:
    """Ask the step to stop, and give it the time for a checkpoint."""
    from prefect.states import Cancelling

    with suppress(Exception):  # the worker, or the next one, ends what is left
        client.set_flow_run_state(submitted.id, Cancelling(message="its run was stopped"))
        calls.call()
        deadline = time.monotonic() + STOP_GRACE_S
        while time.monotonic() < deadline:
            state = _state(client, submitted.id)
            if state is not None and state.is_final():
                return
            time.sleep(0.3)

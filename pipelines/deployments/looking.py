"""The look around every half minute: what should have happened and did not, and whom to tell.

A worker does it, in a thread of its own (`keep_looking`). A schedule that fired into nothing, a
worker that went silent and a model that nobody renewed leave no event: they are seen by looking.
"""

import json
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import files, project
from components.errors import AthanorError
from components.registry import glance
from pipelines.deployments import facts, flow_runs, server, telling, times
from pipelines.deployments.durations import seconds, shown
from pipelines.deployments.entries import Entry
from pipelines.deployments.facts import POOL
from pipelines.deployments.telling import Occurrence, Trouble
from pipelines.reading import override, read
from pipelines.wording import counted

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

LOOK_S = 30.0
SILENT_S = 90.0
"""A worker that says nothing for so long, and for three of its own heartbeats, is silent."""
FORGOTTEN = timedelta(days=7)
"""A worker that is silent for longer is one that nobody misses."""
SHOWN = 3

log = logging.getLogger(__name__)


def keep_looking(over: threading.Event, every_s: float = LOOK_S) -> None:
    """Look until the event is set; a server that is away is asked again at the next look."""
    home = project.home()
    while not over.wait(every_s):
        try:
            with server.connected() as client:
                for trouble in tick(client, home):
                    log.warning("%s", trouble.message)
        except Exception as error:  # noqa: BLE001  the thread's edge: the next look tries again
            log.warning("could not look after the deployments: %s", error)


def tick(client: "SyncPrefectClient", home: Path) -> tuple[Trouble, ...]:
    """One look at every deployment of ours; gives the notices that could not be sent."""
    now = datetime.now(UTC)
    before = _looked(home)
    troubles: list[Trouble] = []
    silent = tuple(_silent(client, now))
    looked: dict[str, str] = {}
    for deployment in server.pages(client.read_deployments):
        entry = facts.entry_of(deployment.labels)
        if entry is None:
            continue
        since = before.get(entry.name, now)
        looked[entry.name] = now.isoformat()
        happened = [*_timeouts(client, entry, deployment, now)]
        _start_where_nothing_came(client, entry, deployment, now)
        if entry.notify:
            happened += _ends(client, entry, deployment, (since, now))
            happened += _slots(client, entry, deployment, (since, now))
            happened += [one.model_copy(update={"deployment": POOL}) for one in silent]
        for notice in entry.notify:
            troubles += telling.tell(home, notice, happened)
    files.write_json(_place(home), looked)
    return tuple(troubles)


def _timeouts(
    client: "SyncPrefectClient", entry: Entry, deployment: "DeploymentResponse", now: datetime
) -> Iterator[Occurrence]:
    """Runs at work for longer than they may be: they are told to stop."""
    from prefect.states import Cancelling

    if entry.timeout_s is None:
        return
    for run in flow_runs.runs_of(client, deployment.id, ("RUNNING", "CANCELLING")):
        worked_s = (now - flow_runs.began(run)).total_seconds()
        if worked_s <= entry.timeout_s:
            continue
        text = f"run {run.name} of {entry.name} took longer than its timeout of {entry.timeout}"
        if run.state_type and run.state_type.value == "RUNNING":
            client.set_flow_run_state(run.id, Cancelling(message=text))
        yield _occurrence("failed", entry, f"timeout-{run.id}", (text, str(run.id)))


def _start_where_nothing_came(
    client: "SyncPrefectClient", entry: Entry, deployment: "DeploymentResponse", now: datetime
) -> None:
    """Start a run for each whole period in which no version was registered.

    The registry is asked, not Prefect's proactive automations: these count events, and a version
    that was registered while no server was up left none.
    """
    wanted = [each.nothing_registered_for for each in entry.triggers]
    period = next(filter(None, wanted), None)
    off = deployment.paused or not all(each.active for each in deployment.schedules)
    if period is None or off:
        return
    try:
        newest = glance.newest(_model(entry))
    except AthanorError as error:
        log.warning("%s", error)  # the registry is away, or the config is gone: the next look
        return
    since = max(filter(None, (newest, deployment.created)), default=now)
    periods = int((now - since).total_seconds() // seconds(period))
    if periods < 1:
        return
    key = f"{flow_runs.NOTHING}-{deployment.id}-{since.timestamp():.0f}-{periods}"
    parameters = {"reason": flow_runs.NOTHING, "digest": key} if entry.flow == "retrain" else {}
    client.create_flow_run_from_deployment(
        deployment.id, parameters=parameters, idempotency_key=key, tags=[flow_runs.NOTHING]
    )


def _model(entry: Entry) -> str:
    """The name under which the entry's runs register; to check the whole config needs torch."""
    document = read(project.root() / entry.config)
    for assignment in entry.parameters.assignments:
        document = override(document, assignment)
    return str(document.values["name"])


def _ends(
    client: "SyncPrefectClient",
    entry: Entry,
    deployment: "DeploymentResponse",
    window: tuple[datetime, datetime],
) -> Iterator[Occurrence]:
    """What ended since the last look."""
    missed = []
    for run in flow_runs.ended(client, deployment.id, window[0] - timedelta(seconds=5)):
        kind = run.state_type.value if run.state_type else ""
        said = f": {run.state.message}" if run.state and run.state.message else ""
        if kind in ("FAILED", "CRASHED"):
            text = f"run {run.name} of {entry.name} ended as {run.state_name}{said}"
            yield _occurrence("failed", entry, str(run.id), (text, str(run.id)))
        elif kind == "COMPLETED":
            text = f"run {run.name} of {entry.name} ended well{said}"
            yield _occurrence("completed", entry, str(run.id), (text, str(run.id)))
        elif run.state_name == "Missed":
            missed.append(run)
    if missed:
        slots = [flow_runs.slot(run) for run in missed]
        key = "-".join(sorted(str(run.id) for run in missed))
        text = f"{_listed(slots)} of {entry.name} passed without a run: nobody was there in time"
        yield _occurrence("missed", entry, key, (text, ""))


def _slots(
    client: "SyncPrefectClient",
    entry: Entry,
    deployment: "DeploymentResponse",
    window: tuple[datetime, datetime],
) -> Iterator[Occurrence]:
    """Slots that wait for too long, and slots that no server made a run for."""
    since, now = window
    grace = timedelta(seconds=max(60.0, facts.rules(entry).late_after_s))
    waiting = flow_runs.runs_of(client, deployment.id, ("SCHEDULED",), now - grace)
    if waiting and not flow_runs.runs_of(client, deployment.id, flow_runs.WORKING):
        oldest = waiting[0]
        late = shown((now - flow_runs.slot(oldest)).total_seconds())
        due = counted(len(waiting), "run")
        text = f"{entry.name} has {due} due, the first for {late}, and none began"
        yield _occurrence("late", entry, str(oldest.id), (text, str(oldest.id)))
    active = [each for each in deployment.schedules if each.active]
    if entry.schedule is None or not active or deployment.paused:
        return
    begin = max(since - grace, *(each.updated or now for each in active))
    expected = times.between(entry.schedule, begin, now - grace)
    if not expected:
        return
    made = {flow_runs.slot(run) for run in flow_runs.scheduled(client, deployment.id, (begin, now))}
    if lost := [slot for slot in expected if slot not in made]:
        text = f"{_listed(lost)} of {entry.name} passed without a run: no server was up"
        yield _occurrence("missed", entry, f"{lost[0]:%s}-{len(lost)}", (text, ""))


def _silent(client: "SyncPrefectClient", now: datetime) -> Iterator[Occurrence]:
    """Workers that gave signs of life and stopped; one that was stopped in order is no worker."""
    from prefect.exceptions import ObjectNotFound

    with suppress(ObjectNotFound):
        for worker in client.read_workers_for_work_pool(POOL):
            last = worker.last_heartbeat_time
            if last is None:
                continue
            silent_s = (now - last).total_seconds()
            allowed_s = max(SILENT_S, 3.0 * (worker.heartbeat_interval_seconds or 0))
            if allowed_s < silent_s < FORGOTTEN.total_seconds():
                text = f"worker {worker.name} gave no sign of life for {shown(silent_s)}"
                key = f"{worker.name}-{last.timestamp():.0f}"
                yield Occurrence(
                    what="worker_silent", deployment="", key=key, text=text, at=now.isoformat()
                )


def _occurrence(what: str, entry: Entry, key: str, said: tuple[str, str]) -> Occurrence:
    """`said` is the sentence, and the run that it is about."""
    text, run = said
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Occurrence(what=what, deployment=entry.name, key=key, text=text, at=at, run=run)


def _listed(slots: Iterable[datetime]) -> str:
    some = sorted(slots)
    named = ", ".join(f"{slot:%Y-%m-%d %H:%M:%S} UTC" for slot in some[:SHOWN])
    more = f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
    return f"{counted(len(some), 'slot')} ({named}{more})"


def _place(home: Path) -> Path:
    return home / "deployments" / "looked.json"


def _looked(home: Path) -> dict[str, datetime]:
    """When each deployment was looked at last; what was never looked at has no past."""
    try:
        known: dict[str, Any] = json.loads(_place(home).read_bytes())
        return {name: datetime.fromisoformat(at) for name, at in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}

"""The dead are buried: what belongs to a process that died is shown as running nowhere.

`records` costs milliseconds and is done by every command. What a dead run left in Prefect and
Optuna is ended when the next run, `resume` or `up` has these servers at hand anyway; in MLflow
the tracker does it. Nothing heavy is imported here before there is something to bury.
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import processes, project

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

FLOW = "train"
"""Name of the flow whose runs are ours; each says in its parameters which process owns it."""
UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
PAGE = 200
"""Most rows of one answer of Prefect's."""
MESSAGE = "its process died"

SILENCE_S = 180.0
"""Six heartbeats: a run on another host that gave no sign for so long is dead."""


def records() -> tuple[str, ...]:
    """Mark the runs crashed whose process is dead; gives their ids."""
    home = project.standing_home()
    if home is None:
        return ()
    try:
        names = os.listdir(home / "runs" / "open")
    except OSError:
        return ()
    dead = [name for name in names if not name.startswith(".") and _dead(home, name)]
    return tuple(name for name in dead if _bury(name))


@contextmanager
def stores(note: Callable[[str], None]) -> Iterator[None]:
    """End in Prefect and Optuna what dead runs left there, beside the work of the block.

    In MLflow it is done when the block ended well: the tracker does it meanwhile where it can.
    Prefect's API must answer. What could not be done is said, and done by a later run.
    """
    before = left()
    done: list[bool] = []

    def work() -> None:
        done.append(_tried("Prefect", prefect, note))
        done.append(_tried("Optuna", optuna, note))

    beside = threading.Thread(target=work, name="athanor-reaping", daemon=True)
    beside.start()
    yield
    beside.join()
    if before and _tried("MLflow", mlflow, note) and all(done):
        for run in before:
            (project.home() / "runs" / "left" / run).unlink(missing_ok=True)


def after_up(note: Callable[[str], None]) -> None:
    """The same where the standing servers are up; nothing is imported when nothing is left."""
    if not left():
        return
    from pipelines import servers, templates

    servers.adopt(project.home())
    os.environ.update(templates.prefect_settings(project.home()))
    with stores(note):
        pass


def left() -> tuple[str, ...]:
    """Dead runs that a server may still show as running."""
    try:
        return tuple(sorted(os.listdir(project.home() / "runs" / "left")))
    except OSError:
        return ()


def prefect() -> int:
    """Crash the flow runs of dead processes, and task runs of theirs; gives their number."""
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        flows, tasks = _unfinished(client)
        for run in tasks:
            client.set_task_run_state(run, Crashed(message=MESSAGE), force=True)
        for run in flows:
            client.set_flow_run_state(run, Crashed(message=MESSAGE), force=True)
    return len(flows) + len(tasks)


def optuna() -> int:
    """Fail the trials of dead searches; gives the number of studies that had any."""
    from pipelines import studies

    if not (names := studies.at_work()):
        return 0
    from components import study

    return study.bury(names)


def mlflow() -> int:
    """Kill the runs of dead processes; gives their number."""
    from components import mlflow_store
    from components.tracking.shipping import Shipper

    return Shipper(mlflow_store.tracking_uri()).reap()


def _tried(store: str, work: Callable[[], int], note: Callable[[str], None]) -> bool:
    try:
        ended = work()
    except Exception as error:  # noqa: BLE001  a store that is away must not stop a run
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        note(f"dead runs in {store} are ended later: {said[:200]}")
        return False
    if ended:
        note(f"{ended} left by dead runs ended in {store}")
    return True


def _unfinished(client: "SyncPrefectClient") -> tuple[list["UUID"], list["UUID"]]:
    """Flow runs and task runs of dead processes that did not end."""
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterId,
        FlowRunFilterState,
        FlowRunFilterStateType,
        TaskRunFilter,
        TaskRunFilterState,
        TaskRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    ours = FlowFilter(name=FlowFilterName(any_=[FLOW]))
    types = [StateType(name) for name in UNFINISHED]
    in_flows = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
    in_tasks = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=types)))
    flows = _pages(client.read_flow_runs, flow_filter=ours, flow_run_filter=in_flows)
    tasks = _pages(client.read_task_runs, flow_filter=ours, task_run_filter=in_tasks)
    known = {run.id: run for run in flows}
    others = sorted({task.flow_run_id for task in tasks} - known.keys() - {None})
    for at in range(0, len(others), PAGE):
        some = FlowRunFilter(id=FlowRunFilterId(any_=others[at : at + PAGE]))
        known |= {run.id: run for run in client.read_flow_runs(flow_run_filter=some, limit=PAGE)}
    owners = {str(run.parameters.get("owner", "")) for run in known.values()}
    dead = {owner for owner in owners if processes.dead(owner)} | owners & _crashed()
    gone = {run.id for run in known.values() if run.parameters.get("owner") in dead}
    return (
        [run.id for run in flows if run.id in gone],
        [task.id for task in tasks if task.flow_run_id in gone],
    )


def _pages(read: Callable[..., Any], **wanted: Any) -> list[Any]:
    found: list[Any] = []
    while True:
        page = read(**wanted, limit=PAGE, offset=len(found))
        found += page
        if len(page) < PAGE:
            return found


def _crashed() -> set[str]:
    """Owners that records call dead: of another host nobody here knows more."""
    from pipelines import runs

    records = filter(None, map(runs.load, left()))
    return {one.owner for record in records for one in record.attempts if one.state == "crashed"}


def _dead(home: Path, run: str) -> bool:
    place = home / "runs" / "open" / run
    owner = _owner(place)
    if processes.dead(owner):
        return True
    return processes.host(owner) != socket.gethostname() and _silent(home, place)


def _owner(place: Path) -> str:
    """The process that a mark names; empty where it cannot be read."""
    try:
        return str(json.loads(place.read_bytes())["owner"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _silent(home: Path, place: Path) -> bool:
    """Whether a mark's last heartbeat is long ago, by the clock of the disk that holds both."""
    clock = home / "locks" / "clock"
    clock.parent.mkdir(parents=True, exist_ok=True)
    clock.touch()
    try:
        return clock.stat().st_mtime - place.stat().st_mtime > SILENCE_S
    except OSError:
        return False  # it ended this very moment


def _bury(run: str) -> bool:
    """Whether this call found the run dead: another command may have been faster."""
    from pipelines import runs

    with runs.locked():
        place = runs.marker(run)
        home = project.home()
        if not place.is_file() or not _dead(home, run):
            return False
        record = runs.load(run)
        crashed = record is not None and record.state == "running"
        left = runs.folder() / "left" / run
        left.parent.mkdir(parents=True, exist_ok=True)
        left.touch()
        if record is not None and crashed:
            runs.save(record.ended("crashed", runs.last_sign(record)))
        place.unlink(missing_ok=True)
        return crashed

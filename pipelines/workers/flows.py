"""The flows that a worker executes: a run, a retraining, one step. There are no others.

Whatever entrypoint, command or pull step a deployment names: the worker looks up its flow's name
here.
"""

import re
import signal
import socket
import time
import traceback
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from prefect import flow
from prefect.states import Cancelled, Completed, Failed, State

from components import disk, project, workspace
from components.errors import AthanorError, IntegrityError
from pipelines import searching
from pipelines.resources import Resources
from pipelines.workers import page, parcels, process
from pipelines.workers.parcels import Outcome

PLACE = re.compile(r"workers/\d{1,4}")


@flow(name="step", validate_parameters=False, persist_result=False)
def step(  # noqa: PLR0913  Prefect's page shows them one by one
    name: str,
    key: str,
    entry: str,
    arguments: dict[str, Any],
    resources: dict[str, Any],
    place: str = "",
) -> State:
    """One step of a run, on this machine; its outcome lies in the step's folder.

    `place` is a folder inside that one, where the step is a part that works beside others.
    """
    process.note(process.mine[0].model_copy(update={"step": name, "key": key}))
    page.named(name, process.tags())
    flow_run_id = process.mine[0].flow_run_id
    task = Task(name, key, entry, arguments, resources, place)
    task.folder.mkdir(parents=True, exist_ok=True)
    try:
        outcome = executed(flow_run_id, task)
    except SystemExit:
        if not page.cancelling():
            raise
        return Cancelled(message="cancelled; its checkpoint is kept")
    parcels.write(task.folder / "outcome.json", outcome)
    if outcome.state == "done":
        return Completed(message=f"{name} is done")
    said = outcome.value["message"] if outcome.state == "error" else "it broke: see worker.log"
    return Failed(message=f"{name}: {said}")


class Task(NamedTuple):
    """A step as it arrives."""

    name: str
    key: str
    entry: str
    arguments: dict[str, Any]
    resources: dict[str, Any]
    place: str = ""

    @property
    def folder(self) -> Path:
        """Its own, whatever a caller writes there."""
        whole = project.home() / "work" / PurePath(self.key).name
        return whole / self.place if PLACE.fullmatch(self.place) else whole


def executed(flow_run_id: str, task: Task) -> Outcome:
    """How a step ended that this process executed; never raises what a run must learn."""
    from pipelines import child

    name, key, entry = task.name, task.key, task.entry
    devices = process.mine[0].devices
    try:
        given = parcels.unpacked(task.arguments)
        _demand_same_code(name, key, entry, given)
        wanted = Resources.model_validate(task.resources)
        how = wanted.launch(devices)
        with workspace.opened(task.folder):
            workspace.current().params({"worker": socket.gethostname(), "devices": devices})
            begun = time.monotonic()
            value = parcels.packed(child.work(entry, given, how))
            seconds = round(time.monotonic() - begun, 3)
        return Outcome(flow_run_id=flow_run_id, state="done", value=value, seconds=seconds)
    except AthanorError as error:
        return Outcome(flow_run_id=flow_run_id, state="error", value=parcels.told(error))
    except Exception as error:  # noqa: BLE001  the process's edge: the run must learn it
        if short := disk.shortage(error):
            return Outcome(flow_run_id=flow_run_id, state="error", value=parcels.told(short))
        text = traceback.format_exc()
        return Outcome(flow_run_id=flow_run_id, state="broken", value=text)


def _demand_same_code(name: str, key: str, entry: str, given: dict[str, Any]) -> None:
    """Refuse a step whose key this code would not give it, and what is no step.

    Raises:
        IntegrityError: the code or the libraries here are others.
    """
    if not entry.startswith("components.steps."):
        raise IntegrityError(f"{entry} is no step", "submit runs with athanor run")
    from importlib import import_module

    from pipelines import keys

    module, _, function = entry.partition(":")
    if entry in searching.PARTS:
        function = searching.SEARCH.partition(":")[2]
    call = keys.Call(name, vars(import_module(module))[function], given)
    if keys.key(keys.document(call)) != key:
        raise IntegrityError(
            f"the worker on {socket.gethostname()} has other code for {name} than the run",
            "bring its clone to the run's commit, then: athanor worker",
        )


@flow(name="run", validate_parameters=False, persist_result=False)
def run(
    config: str = "",
    assignments: list[str] | None = None,
    run: str = "",
    submitted: dict[str, Any] | None = None,
) -> State:
    """A whole run, which waits while workers do its steps.

    It is made of a `config` of the project with `assignments`, or is `submitted`: `run` is then
    the id that somebody waits for.
    """
    from pipelines.workers import parent

    signal.signal(signal.SIGTERM, _terminated)
    if submitted is None:
        return parent.execute(run, parent.Named(config, tuple(assignments or ())))
    return parent.execute(run, parent.Submitted.model_validate(submitted))


@flow(name="retrain", validate_parameters=False, persist_result=False)
def retrain(  # noqa: PLR0913  what deployments and their triggers fill in
    config: str,
    assignments: list[str] | None = None,
    data: str = "pull",
    reason: str = "",
    digest: str = "",
    subject: str = "",
) -> State:
    """The champion's model goes on with new data; `digest` and `subject` say what asked for it."""
    from pipelines.workers import parent

    signal.signal(signal.SIGTERM, _terminated)
    why = " ".join(filter(None, (reason, subject, digest[:12])))
    return parent.retrain(parent.Named(config, tuple(assignments or ())), data, why)


def _terminated(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


FLOWS = {"step": step, "run": run, "retrain": retrain}
"""By name; nothing else is executed."""

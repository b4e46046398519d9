"""Each step as a Prefect task: where it runs, how often it is tried, where its result is kept."""

import hashlib
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import CrashedRun
from prefect.states import raise_state_exception
from prefect.tasks import Task
from prefect.transactions import IsolationLevel

from components import files, objects, project
from components.artifacts import RawData, RegisteredModel
from components.bundle.provenance import LINEAGE
from components.errors import IntegrityError
from components.gate import Decision, GateConfig, store_decision
from components.records import Record, content
from components.steps.rescore import Champion
from components.tracking.tracker import Status, Tracker
from pipelines import child
from pipelines.config import RunConfig
from pipelines.keys import (
    Call,
    bind,
    changed_meanwhile,
    document,
    key,
    remember,
    result_folder,
    stored,
)
from pipelines.locks import KernelLocks
from pipelines.plan import Forced, Outlook, Planner, keeps, why_run
from pipelines.progress import Screen


class Unit(NamedTuple):
    """How one kind of step is run."""

    place: Literal["child", "here"] = "child"
    """In a process of its own, or in the run's own: for what is light or speaks to the registry."""
    retries: int = 1
    """Tries after the first; only a died process is tried again, never a raised error."""


UNITS = {
    "validate": Unit(),
    "prepare": Unit(),
    "train": Unit(),
    "search": Unit(),
    "compress": Unit(),
    "measure": Unit(),
    "evaluate": Unit(),
    "baseline": Unit(),
    "select": Unit(place="here", retries=0),
    "register": Unit(place="here", retries=0),
    "rescore": Unit(),
    "judge": Unit(place="here", retries=0),
    "promote": Unit(place="here", retries=0),
}


SCRATCH = ("checkpoints", "compress", "champion")
"""What a step needs only until it is done; its journal and reports stay."""


class Executed(NamedTuple):
    """What happened to one step of this run."""

    name: str
    state: Literal["executed", "cached"]
    reason: str
    seconds: float


class Trace(NamedTuple):
    """The run in MLflow."""

    tracker: Tracker
    parent: str

    def begin(self, call: Call, of: dict[str, Any], journal: Path) -> str:
        """Handle of the step's run, which shows the step's journal from now on."""
        records = {n: v for n, v in call.arguments.items() if isinstance(v, Record)}
        inputs = {n: v.digest for n, v in records.items() if "files" in type(v).model_fields}
        config = {n: v for n, v in of["inputs"].items() if n not in inputs}
        handle = self.tracker.start_step(self.parent, call.name, config, inputs, {})
        self.tracker.follow(handle, journal)
        if isinstance(raw := call.arguments.get("raw"), RawData):
            self.tracker.log_data(handle, raw)
        return handle


class Runner(Planner):
    """Reads the chain by executing it; a stored result is shown in Prefect as cached."""

    def __init__(self, config: RunConfig, forced: Forced, screen: Screen, trace: Trace) -> None:
        super().__init__(config.name, forced)
        self.config = config
        self.screen = screen
        self.trace = trace
        self.executed: list[Executed] = []
        self.lineage: dict[str, Any] = {}
        """What each step so far was made of and came to, by name: what a remake is held to."""

    def __call__(self, name: str, step: Callable[..., Record], *args: Any, **kwargs: Any) -> Any:
        """The record of a step, from the store or made now."""
        call = bind(name, step, args, kwargs)
        of = document(call)
        this = key(of)
        forced = self.forced(name)
        there = (result_folder() / this).exists()
        found = None if forced or not keeps(call) else stored(this)
        reasons = ("stored",) if found else why_run(self.run, self.forced, call, of)
        begun = time.monotonic()
        unit = _task(call, UNITS[step.__name__], this)
        if there and found is None and keeps(call):
            (result_folder() / this).unlink(missing_ok=True)  # its objects are gone or damaged
        if forced:
            _forget(this)
        ran: list[float] = []
        record: Any = unit(_Work(self, call, this, of, reasons, ran))
        seconds = ran[0] if ran else time.monotonic() - begun
        state = "executed" if ran else "cached"
        self.lineage[name] = {"order": len(self.lineage), **_lineage(call, of, record)}
        if keeps(call):
            if stored(this) is None:
                raise child.StepBroken(f"the result of {name} could not be stored under {this}")
            remember(self.run, name, of)
        self.screen.step_done(name, state, seconds)
        self.executed.append(Executed(name, state, "; ".join(reasons[:3]), round(seconds, 3)))
        return record

    def decided(self, registered: RegisteredModel, gate: GateConfig) -> Decision | None:
        """The stored decision, its two steps shown as cached."""
        before = len(self.outlooks)
        decision = super().decided(registered, gate)
        if decision is not None:
            for outlook in self.outlooks[before:]:
                _shown_as_cached(outlook)
                self.screen.step_done(outlook.name, "cached", 0.0)
                self.executed.append(Executed(outlook.name, "cached", outlook.reasons[0], 0.0))
        return decision

    def decide(self, decision: Decision) -> Decision:
        """Keep the decision; a refusal goes into the history, as a promotion did by itself."""
        from components import history

        store_decision(decision)
        verdict, version = decision.verdict, decision.registered
        if decision.outcome == "refused" and verdict is not None:
            failed = [f"{c.rule}: {c.observed}" for c in verdict.checks if not c.passed]
            evidence = {"verdict": verdict.digest, "rival": verdict.rival}
            history.record(
                version.name, "refused", version.version, why="; ".join(failed), evidence=evidence
            )
        return decision

    def champion(self, registered: RegisteredModel) -> Champion | None:
        """The version that the alias names in the registry now, its files here and verified."""
        from components import registry
        from components.registry import fetching

        version = registry.alias(registered.name)
        if version is None:
            return None
        bundle = fetching.fetch(registered.name, version)
        exported = bundle.adopt()
        kept = [name for name in bundle.names if name in ("inputs.json", "tokenizer.json")]
        named = {name: objects.put(bundle.folder / name) for name in kept}
        return Champion(
            name=registered.name,
            version=version,
            bundle=bundle.digest,
            exported=exported,
            files={**named, "model.onnx": exported.files["model.onnx"]},
        )


class _Work(NamedTuple):
    """What the body of a task gets; Prefect stores none of it."""

    runner: Runner
    call: Call
    key: str
    document: dict[str, Any]
    reasons: tuple[str, ...]
    ran: list[float]


def _execute(work: _Work) -> Record:
    """The body of every task."""
    call, runner = work.call, work.runner
    unit = UNITS[call.function.__name__]
    folder = project.home() / "work" / work.key
    folder.mkdir(parents=True, exist_ok=True)
    if call.name == "register":
        config = content(runner.config.model_dump(mode="json"))
        files.write_json(folder / LINEAGE, {"config": config, "steps": runner.lineage})
    begun = time.monotonic()
    runner.screen.step_started(call.name, work.reasons)
    handle = runner.trace.begin(call, work.document, folder / "journal.jsonl")
    status: Status = "FAILED"
    try:
        if unit.place == "child":
            watch = runner.screen.follow(folder / "journal.jsonl")
            record = child.run(call.entry, call.arguments, folder, watch)
        else:
            record = _here(call, folder)
        status = "FINISHED"
    except Exception:
        raise
    except BaseException:  # Ctrl-C, or Prefect's own exception for SIGTERM
        status = "KILLED"
        raise
    finally:
        runner.trace.tracker.end(handle, status)
    if edited := changed_meanwhile(call, work.document):
        raise IntegrityError(
            f"{edited[0]} was edited while {call.name} ran, so nobody knows which code made its "
            "result; it is dropped",
            "run again",
        )
    for scratch in SCRATCH:
        shutil.rmtree(folder / scratch, ignore_errors=True)
    work.ran.append(time.monotonic() - begun)
    return _made(record, work.ran[0])


def _lineage(call: Call, of: dict[str, Any], result: Record) -> dict[str, Any]:
    """A step as the bundle remembers it: records by digest, its config in full."""
    inputs = {
        name: {"digest": value.digest}
        if isinstance(value, Record) and "files" in type(value).model_fields
        else of["inputs"][name]
        for name, value in call.arguments.items()
    }
    return {
        "key": key(of),
        "function": of["function"],
        "inputs": inputs,
        "code": hashlib.sha256(files.canonical(of["code"])).hexdigest(),
        "libraries": of["libraries"],
        "result": result.digest,
        "files": vars(result).get("files", {}),
    }


def _forget(key: str) -> None:
    """Drop what an earlier try of a step left: a forced step starts from nothing."""
    shutil.rmtree(project.home() / "work" / key, ignore_errors=True)


def _here(call: Call, folder: Path) -> Record:
    from components import workspace

    with workspace.opened(folder):
        return call.function(**call.arguments)


def _made(record: Record, seconds: float) -> Record:
    """The record with the time that it took, where it says so and does not yet."""
    import socket

    from components.artifacts import Made

    if "made" not in type(record).model_fields:
        return record
    before = vars(record)["made"] or Made()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = Made(seconds=round(seconds, 3), at=now, host=socket.gethostname(), facts=before.facts)
    return record.model_copy(update={"made": made})


def _retryable(_task: Task, _run: TaskRun, state: State) -> bool:
    """Only a process that died is tried again: an error would come back."""
    try:
        raise_state_exception(state)
    except (child.StepCrashed, CrashedRun):
        return True
    except BaseException:  # noqa: BLE001  whatever else a state may hold is not worth another try
        return False
    return False


def _task(call: Call, unit: Unit, name: str) -> Task:
    """The call as a task under the step's name."""
    if keeps(call):
        locks = KernelLocks(project.home() / "locks")
        policy = CacheKeyFnPolicy(cache_key_fn=lambda _context, _inputs: name).configure(
            isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=locks
        )
    else:
        policy = NO_CACHE
    return task(_execute).with_options(
        name=call.name,
        task_run_name=call.name,
        retries=unit.retries,
        retry_delay_seconds=2,
        retry_condition_fn=_retryable,
        persist_result=keeps(call),
        result_storage=result_folder(),
        result_serializer="json",
        cache_policy=policy,
    )


def _shown_as_cached(outlook: Outlook) -> None:
    """A task that ends as Cached: its decision is stored, nothing runs."""
    from prefect.states import Completed

    def known() -> State:
        return Completed(name="Cached", message=outlook.reasons[0])

    task(known).with_options(
        name=outlook.name, task_run_name=outlook.name, cache_policy=NO_CACHE, persist_result=False
    )()

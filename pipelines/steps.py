"""Executes the chain: where each step runs, how often it is tried, what is noted of it."""

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from components import disk, files, objects, project
from components.artifacts import RawData, RegisteredModel
from components.bundle.provenance import LINEAGE
from components.errors import IntegrityError
from components.gate import Decision, GateConfig, store_decision
from components.records import Record, content
from components.steps.rescore import Champion
from components.tracking.tracker import Status, Tracker
from pipelines import child, outages, places, searching
from pipelines.config import RunConfig
from pipelines.holding import Held
from pipelines.keys import (
    Call,
    bind,
    changed_meanwhile,
    document,
    key,
    named_objects,
    remember,
    result_folder,
    stored,
)
from pipelines.plan import Forced, Planner, keeps, version_of, why_run
from pipelines.progress import Screen
from pipelines.resources import Resources, of
from pipelines.tasks import as_task, show_cached


class Unit(NamedTuple):
    """How one kind of step is run."""

    place: Literal["child", "here"] = "child"
    """In a process of its own, or in the run's own: for what is light or speaks to the registry."""
    patient: bool = False
    """Asks the registry again when that is away; for what may be done twice."""
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
    "register": Unit(place="here", patient=True, retries=0),
    "rescore": Unit(),
    "judge": Unit(place="here", retries=0),
    "promote": Unit(place="here", patient=True, retries=0),
}


STORES_BYTES = 32 << 20
"""Room that the databases of Prefect, MLflow and Optuna, journals and reports want in a step."""

TIMES_INPUTS = 3
"""What a step writes, as a multiple of what it reads: a result beside what it was before, and
once more while it takes its place. A training knows its checkpoints better and asks itself."""

SCRATCH = ("checkpoints", "compress", "champion", "trials", "workers")
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


Elsewhere = Callable[[Call, str, Callable[[], None]], Record]
"""Executes a step of place `child`: the call, its key, and what to call while it works."""


def in_child(
    resources: Mapping[str, Resources], call: Call, key: str, watch: Callable[[], None]
) -> Record:
    """The record of a step that a child of this process executes, on the devices that it wants."""
    wanted = of(resources, call.name)

    def run(
        entry: str, arguments: dict[str, Any], folder: Path, look: Callable[[], None]
    ) -> Record:
        with places.held(wanted, look) as held:
            launch = wanted.launch(held.devices if wanted.gpus else None)
            return child.run(entry, arguments, folder, look, launch)

    if wanted.parallel > 1:
        return searching.search(run, call.arguments, _folder(key), wanted.parallel, watch)
    return run(call.entry, call.arguments, _folder(key), watch)


class Runner(Planner):
    """Reads the chain by executing it; a stored result is shown in Prefect as cached."""

    def __init__(
        self, config: RunConfig, forced: Forced, screen: Screen, told: tuple[Held, Trace]
    ) -> None:
        super().__init__(config.name, forced)
        self.config = config
        self.held, trace = told
        self.screen = screen
        self.trace = trace
        self.executed: list[Executed] = []
        self.lineage: dict[str, Any] = {}
        """What each step so far was made of and came to, by name: what a remake is held to."""
        self.elsewhere: Elsewhere = partial(in_child, config.resources)
        """Where steps are executed that do not work in this process."""
        self._deciding = ExitStack()

    def __call__(self, name: str, step: Callable[..., Record], *args: Any, **kwargs: Any) -> Any:
        """The record of a step, from the store or made now."""
        call = bind(name, step, args, kwargs)
        of = document(call)
        this = key(of)
        forced = self.forced(name) and this not in self.forced.done
        there = (result_folder() / this).exists()
        found = None if forced or not keeps(call) else stored(this)
        reasons = ("stored",) if found else why_run(self.run, self.forced, call, of)
        begun = time.monotonic()
        unit = as_task(_execute, call, this, UNITS[step.__name__].retries)
        if there and found is None and keeps(call):
            (result_folder() / this).unlink(missing_ok=True)  # its objects are gone or damaged
        if forced:
            self.trace.tracker.keep_journal(_folder(this) / "journal.jsonl")
            _forget(this)
            self._began_anew(this)
        ran: list[float] = []
        record: Any = unit(_Work(self, call, this, of, reasons, ran))
        seconds = ran[0] if ran else time.monotonic() - begun
        state = "executed" if ran else "cached"
        self.lineage[name] = {"order": len(self.lineage), **_lineage(call, of, record)}
        if keeps(call):
            if stored(this) is None:
                raise child.StepBroken(f"the result of {name} could not be stored under {this}")
            remember(self.run, name, of)
        self._done(Executed(name, state, "; ".join(reasons[:3]), round(seconds, 3)), this)
        return record

    def _began_anew(self, what: str) -> None:
        """A forced step is forced once a run, however often the run is interrupted."""
        self.forced.done.add(what)
        self.held.set_aside(what)

    def _done(self, step: Executed, key: str | None) -> None:
        self.screen.step_done(step.name, step.state, step.seconds)
        self.held.known(mlflow_run_id=self.trace.tracker.run_id(self.trace.parent) or None)
        self.held.step_done(step.name, key, step.state, (step.reason, step.seconds))
        self.executed.append(step)

    def decided(self, registered: RegisteredModel, gate: GateConfig) -> Decision | None:
        """The stored decision, its two steps shown as cached.

        Where there is none, this run is the one that decides, until it has or ends: of several
        runs that made one version the others wait, and find the decision.
        """
        before = len(self.outlooks)
        decision = super().decided(registered, gate)
        if decision is None:
            lock = f"decision-{registered.name}-{registered.version}.lock"
            self._deciding.enter_context(files.locked(project.home() / "locks" / lock))
            decision = super().decided(registered, gate)
        if decision is not None:
            self.close()
            for outlook in self.outlooks[before:]:
                show_cached(outlook)
                self._done(Executed(outlook.name, "cached", outlook.reasons[0], 0.0), None)
        return decision

    def decide(self, decision: Decision) -> Decision:
        """Keep the decision; a refusal goes into the history, as a promotion did by itself."""
        from components import history

        verdict, version = decision.verdict, decision.registered
        if decision.outcome == "refused" and verdict is not None:
            failed = [f"{c.rule}: {c.observed}" for c in verdict.checks if not c.passed]
            evidence = {"verdict": verdict.digest, "rival": verdict.rival}
            record = partial(history.record, version.name, "refused", version.version)
            told = partial(record, why="; ".join(failed), evidence=evidence)
            outages.patiently(told, self.screen.note)
        store_decision(decision)  # last: whoever is killed before it decides again, and says so
        if self.forced.names or self.forced.start:
            self._began_anew(version_of(decision.registered))
        self.close()
        return decision

    def close(self) -> None:
        """Let another run decide."""
        self._deciding.close()

    def champion(self, registered: RegisteredModel) -> Champion | None:
        """The version that the alias names in the registry now, its files here and verified."""
        from components import registry
        from components.registry import fetching

        version = outages.patiently(partial(registry.alias, registered.name), self.screen.note)
        if version is None:
            return None
        fetch = partial(fetching.fetch, registered.name, version)
        bundle = outages.patiently(fetch, self.screen.note)
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
    folder = _folder(work.key)
    with disk.told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    disk.demand(folder, _room(call), f"step {call.name}")
    if call.name == "register":
        config = content(runner.config.model_dump(mode="json"))
        told = {"config": config, "steps": runner.lineage}
        if retraining := runner.held.record.wishes.retraining:
            told["retraining"] = retraining.model_dump(mode="json")
        files.write_json(folder / LINEAGE, told)
    begun = time.monotonic()
    runner.screen.step_started(call.name, work.reasons)
    runner.held.step_started(call.name, work.key, "; ".join(work.reasons[:3]))
    handle = runner.trace.begin(call, work.document, folder / "journal.jsonl")
    status: Status = "FAILED"
    try:
        if unit.place == "child":
            watch = runner.screen.follow(folder / "journal.jsonl")
            record = runner.elsewhere(call, work.key, watch)
        else:
            work_here = partial(_here, call, folder)
            say = runner.screen.note
            record = outages.patiently(work_here, say) if unit.patient else work_here()
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


def _room(call: Call) -> int:
    """Bytes that must be free before a step starts: its inputs again and again, and the stores'."""
    named = set(named_objects(call.arguments))
    return STORES_BYTES + TIMES_INPUTS * sum(objects.size(name) for name in named)


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
    shutil.rmtree(_folder(key), ignore_errors=True)


def _folder(key: str) -> Path:
    return project.home() / "work" / key


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

"""What each run was asked, what it does and what became of it: a record a run, in the home.

`runs/<id>.json` is the record, sealed; the process that works on the run keeps it up to date.
`runs/open/<id>` says which process that is, for as long as it works; the file's time of change is
its heartbeat. `runs/left/<id>` stands for a dead run that servers may still show as running.
"""

import difflib
import os
import re
import secrets
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from components import files, project
from components.errors import IntegrityError, UsageError
from components.records import Record

State = Literal["running", "completed", "refused", "failed", "interrupted", "crashed"]
StepState = Literal["running", "executed", "cached", "failed", "interrupted", "crashed"]
FINISHED: tuple[State, ...] = ("completed", "refused")

SERVERS = ("prefect", "mlflow")
ID = re.compile(r"\d{8}-\d{6}-(?P<name>.+)-[0-9a-f]{4}")


class Retraining(Record):
    """What a run that retrains was begun for, and from where it goes on."""

    reason: str
    champion: int | None
    """The version whose weights it starts from; None where there was none."""
    bundle: str = ""
    """sha256 of that version's manifest."""
    before: dict[str, str] = {}
    """Digest of each data set that the champion was made from."""
    after: dict[str, str]
    """The same of the run's, when it began."""


class Wishes(Record):
    """What a user asks of a run beyond its config."""

    assignments: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    start: str | None = None
    network: Literal["allowed", "refused"] = "allowed"
    retraining: Retraining | None = None
    """None for a run that starts afresh."""


class StepRecord(Record):
    """One step of an attempt."""

    name: str
    key: str | None
    state: StepState
    reason: str
    begun: str
    seconds: float | None = None


class Failure(Record):
    """The error that ended an attempt."""

    kind: str
    message: str
    remedy: str = ""


class Attempt(Record):
    """One process at work on a run."""

    owner: str
    """Host, boot, number and start of the process."""
    begun: str
    """UTC, ISO 8601, as every time here."""
    ended: str | None = None
    """Of a crashed one: its last sign of life."""
    state: State = "running"
    exit_code: int | None = None
    error: Failure | None = None
    steps: tuple[StepRecord, ...] = ()
    mlflow_run_id: str | None = None
    prefect_run_id: str | None = None
    notes: tuple[str, ...] = ()
    """What the receipt says of it beside its results."""
    logs: dict[str, tuple[int, int | None]] = {}
    """Server -> length of its log at the attempt's begin and end, in bytes."""


class RunRecord(Record):
    """A run: what was asked, and each attempt to do it."""

    id: str
    name: str
    """Of the config."""
    file: str
    config: dict[str, Any]
    """The whole checked config, assignments included."""
    config_digest: str
    wishes: Wishes
    set_aside: tuple[str, ...] = ()
    """Keys of forced steps, and versions of forced decisions, that began anew already."""
    attempts: tuple[Attempt, ...]

    @property
    def last(self) -> Attempt:
        """The attempt that counts."""
        return self.attempts[-1]

    @property
    def state(self) -> State:
        """What became of the run."""
        return self.last.state

    @property
    def mlflow_run_id(self) -> str | None:
        """The run in MLflow, of the last attempt that it is known of."""
        known = [one.mlflow_run_id for one in self.attempts if one.mlflow_run_id]
        return known[-1] if known else None

    def ended(self, state: State, at: str, **facts: Any) -> "RunRecord":
        """The record after its last attempt ended; a step that was at work ended with it."""
        stopped = "failed" if state in FINISHED else state
        steps = tuple(
            step.model_copy(update={"state": stopped}) if step.state == "running" else step
            for step in self.last.steps
        )
        return self.changed(state=state, ended=at, steps=steps, **facts)

    def changed(self, **facts: Any) -> "RunRecord":
        """The record with other facts of its last attempt."""
        attempts = (*self.attempts[:-1], self.last.model_copy(update=facts))
        return self.model_copy(update={"attempts": attempts})


def demand_resumable(record: RunRecord) -> None:
    """Refuse a run that is running or finished.

    Raises:
        UsageError: it is; the message says where it runs.
    """
    if record.state == "running":
        host, _, pid, _ = record.last.owner.split(" ")
        raise UsageError(
            f"run {record.id} is running on {host} as process {pid}",
            f"athanor logs {record.id} -f",
        )
    if record.state in FINISHED:
        raise UsageError(
            f"run {record.id} has finished: {record.state}", f"athanor run {record.file}"
        )


def find(wanted: str) -> RunRecord:
    """The run of an id, of its unambiguous beginning, or `latest`.

    Raises:
        IntegrityError: its record is damaged.
        UsageError: there is none; the remedy names near ones.
    """
    known = ids()
    if wanted == "latest":
        matching = known[:1]
    else:
        matching = [one for one in known if one == wanted]
        matching = matching or [one for one in known if wanted and one.startswith(wanted)]
    if not matching:
        near = difflib.get_close_matches(wanted, known, 3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? See: " if near else ""
        raise UsageError(f"no run is called {wanted!r}", f"{hint}athanor runs")
    if len(matching) > 1:
        shown = ", ".join(matching[:5])
        raise UsageError(f"{len(matching)} runs begin with {wanted!r}", f"one of: {shown}")
    record = read(matching[0])
    if record is None:
        raise UsageError(f"run {matching[0]} was removed this moment", "athanor runs")
    return record


def ids(name: str = "") -> list[str]:
    """Ids of the runs, newest first; of one config where its name is given."""
    try:
        names = os.listdir(folder())
    except OSError:
        return []
    found = [one.removesuffix(".json") for one in names if one.endswith(".json")]
    matches = ((one, ID.fullmatch(one)) for one in found)
    return sorted((one for one, it in matches if it and name in ("", it["name"])), reverse=True)


def load(run: str) -> RunRecord | None:
    """The record of a run; None where it is gone or damaged."""
    try:
        return read(run)
    except IntegrityError:
        return None


def read(run: str) -> RunRecord | None:
    """The record of a run; None where it is gone.

    Raises:
        IntegrityError: it is damaged.
    """
    path = folder() / f"{run}.json"
    try:
        return RunRecord.model_validate(files.read_sealed(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"the record of run {run} is damaged ({path}): {_reason(error)}",
            f"what the run made lies elsewhere; to forget the run: rm {shlex.quote(str(path))}",
        ) from error


def _reason(error: OSError | ValueError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "its seal does not fit"


def save(record: RunRecord) -> None:
    """Put a record on the disk."""
    files.write_sealed(folder() / f"{record.id}.json", record.model_dump(mode="json"))


def executed_last(name: str, digest: str) -> RunRecord | None:
    """The run that executed a step of this very config last, else of its name."""
    nearest: RunRecord | None = None
    for one in ids(name):
        record = load(one)
        if record is None or record.state not in FINISHED:
            continue
        if any(step.state == "executed" for at in record.attempts for step in at.steps):
            nearest = nearest or record
            if record.config_digest == digest:
                return record
    return nearest


def folder() -> Path:
    """Where the records lie."""
    return project.home() / "runs"


def new_id(name: str) -> str:
    """The id of a run of this config that begins now."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}-{secrets.token_hex(2)}"


def marker(run: str) -> Path:
    """What stands while a process works on a run."""
    return folder() / "open" / run


def locked() -> Any:
    """Held while a run changes hands."""
    return files.locked(project.home() / "locks" / "runs.lock")


def last_sign(record: RunRecord) -> str:
    """When a run was last seen alive: its heartbeat, its record, the journals of its steps."""
    keys = [step.key for step in record.last.steps if step.state == "running"]
    journals = [project.home() / "work" / str(key) / "journal.jsonl" for key in keys]
    signs = [marker(record.id), folder() / f"{record.id}.json", *journals]
    seen = max(sign.stat().st_mtime for sign in signs if sign.exists())
    return datetime.fromtimestamp(seen, UTC).isoformat(timespec="milliseconds")


def now() -> str:
    """UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def log_sizes() -> dict[str, int]:
    """Server -> length of its log now, in bytes."""
    places = {name: project.home() / "logs" / f"{name}.log" for name in SERVERS}
    return {name: at.stat().st_size for name, at in places.items() if at.is_file()}

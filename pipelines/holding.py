"""A process at work on a run: its record is kept up to date, its heart beats, its end is told."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from components import files, processes
from components.errors import AthanorError, Interrupted, ResourceError, UsageError
from pipelines import runs
from pipelines.runs import (
    Attempt,
    Failure,
    RunRecord,
    State,
    StepRecord,
    StepState,
    Wishes,
    now,
    save,
)

HEARTBEAT_S = 30.0
INTERRUPTED = 130


class Held:
    """A run that this process works on; what it is told is on the disk when the call returns."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self._over = threading.Event()
        threading.Thread(target=self._beat, name="athanor-heartbeat", daemon=True).start()

    @property
    def id(self) -> str:
        """The run's."""
        return self.record.id

    def step_started(self, name: str, key: str, reason: str) -> None:
        """A step is executed from now on."""
        step = StepRecord(name=name, key=key, state="running", reason=reason, begun=now())
        self._steps(step)
        save(self.record)

    def step_done(
        self, name: str, key: str | None, state: StepState, facts: tuple[str, float]
    ) -> None:
        """A step has its result; of a cached one the disk learns with the next step."""
        reason, seconds = facts
        step = StepRecord(
            name=name, key=key, state=state, reason=reason, begun=now(), seconds=seconds
        )
        mine = [one for one in self.record.last.steps if one.name == name]
        if mine:
            step = step.model_copy(update={"begun": mine[-1].begun})
        self._steps(step)
        if state == "executed":
            save(self.record)

    def set_aside(self, what: str) -> None:
        """A forced step began anew: no later attempt forces it again."""
        if what not in self.record.set_aside:
            kept = (*self.record.set_aside, what)
            self.record = self.record.model_copy(update={"set_aside": kept})
            save(self.record)

    def known(self, **ids: str | None) -> None:
        """`mlflow_run_id` or `prefect_run_id` of this attempt."""
        news = {name: value for name, value in ids.items() if value}
        if any(vars(self.record.last)[name] != value for name, value in news.items()):
            self.record = self.record.changed(**news)
            with suppress(OSError, ResourceError):  # they are shown, nothing depends on them
                save(self.record)

    def noted(self, notes: tuple[str, ...]) -> None:
        """What the receipt will say; the disk learns it with the end."""
        self.record = self.record.changed(notes=notes)

    def end(self, state: State, exit_code: int, error: Failure | None = None) -> None:
        """The attempt is over."""
        self._over.set()
        begun = {name: at for name, (at, _) in self.record.last.logs.items()}
        logs = {name: (begun.get(name, 0), size) for name, size in runs.log_sizes().items()}
        facts = {"exit_code": exit_code, "error": error, "logs": logs}
        self.record = self.record.ended(state, now(), **facts)
        save(self.record)
        runs.marker(self.id).unlink(missing_ok=True)

    def _steps(self, step: StepRecord) -> None:
        """The last of a name counts: a judge who was overtaken judges again."""
        others = tuple(one for one in self.record.last.steps if one.name != step.name)
        self.record = self.record.changed(steps=(*others, step))

    def _beat(self) -> None:
        place = runs.marker(self.id)
        while not self._over.wait(HEARTBEAT_S):
            try:
                os.utime(place)
            except OSError:  # no sign of life now; there will be others
                continue


def begin(
    name: str,
    config: dict[str, Any],
    digest: str,
    asked: tuple[str, Wishes],
    promised: str | None = None,
) -> Held:
    """A new run; `asked` are the config's file and the wishes, `promised` an id told before."""
    file, wishes = asked
    record = RunRecord(
        id=promised or runs.new_id(name),
        name=name,
        file=file,
        config=config,
        config_digest=digest,
        wishes=wishes,
        attempts=(_attempt(),),
    )
    _open(record)
    return Held(record)


def again(run: str) -> Held:
    """One more attempt at a run that did not finish.

    Raises:
        UsageError: it is running or finished.
    """
    with runs.locked():
        before = runs.load(run)
        if before is None:
            raise UsageError(f"run {run} is gone", "athanor runs")
        runs.demand_resumable(before)
        record = before.model_copy(update={"attempts": (*before.attempts, _attempt())})
        _open(record)
    return Held(record)


@contextmanager
def at_work(held: Held) -> Iterator[Held]:
    """Record how the work inside the block ends; it ends a good run itself.

    An interruption gets the command that goes on with the run as a note.
    """
    try:
        yield held
    except Interrupted as error:
        _end(held, "interrupted", error.exit_code)
        raise
    except AthanorError as error:
        failure = Failure(kind=type(error).__name__, message=error.message, remedy=error.remedy)
        _end(held, "failed", error.exit_code, failure)
        raise
    except (KeyboardInterrupt, SystemExit) as stop:
        code = stop.code if isinstance(stop, SystemExit) else INTERRUPTED
        _end(held, "interrupted", code if isinstance(code, int) else 1)
        stop.add_note(f"athanor resume {held.id}")
        raise
    except BaseException as error:
        failure = Failure(kind=type(error).__name__, message=str(error)[:2000])
        _end(held, "failed", 70, failure)
        raise


def _open(record: RunRecord) -> None:
    """The mark first: a record without one would be nobody's."""
    place = runs.marker(record.id)
    files.write_json(place, {"owner": record.last.owner})
    save(record)


def _end(held: Held, state: State, exit_code: int, error: Failure | None = None) -> None:
    """End an attempt that something ended; a full disk must not hide what that was."""
    with suppress(OSError, ResourceError):
        held.end(state, exit_code, error)


def _attempt() -> Attempt:
    logs = {name: (size, None) for name, size in runs.log_sizes().items()}
    return Attempt(owner=processes.this(), begun=now(), logs=logs)

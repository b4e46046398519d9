"""A run that this home's worker executes, told as if this process did: lines, bars, receipt.

What it does is read from its record and from the journals of its steps, which lie in the home;
Prefect is asked only for what waits. So the follower goes on without a server, may leave at any
time, and what it follows never waits for it.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from components import errors, project
from components.errors import AthanorError, Interrupted, ResourceError, UsageError
from pipelines import api, cancelling, reaping, running, runs
from pipelines.asking import Asking
from pipelines.child import StepBroken
from pipelines.progress import Screen
from pipelines.receipt import Report, Step
from pipelines.running import Asked, Latest
from pipelines.runs import Failure, RunRecord, StepRecord
from pipelines.workers import standing, submission
from pipelines.workers.submission import Submission

Way = Literal["follow", "detach", "here"]
"""Where a run works and who waits: on the worker and this command; the worker alone; here."""

LOOK_S = 0.2
BURY_S = 2.0


class Detached(Exception):
    """The run goes on without this process."""

    def __init__(self, submitted: Submission) -> None:
        super().__init__(submitted.run)
        self.submitted = submitted

    @property
    def document(self) -> dict[str, Any]:
        """What was submitted, and the commands to follow it."""
        run = self.submitted.run
        return {
            "submitted": {"id": run, "prefect_run_id": self.submitted.flow_run_id},
            "commands": {
                "follow": f"athanor logs {run} -f",
                "status": "athanor status",
                "cancel": f"athanor cancel {run}",
            },
        }

    @property
    def text(self) -> str:
        """The same for a person."""
        commands = "\n".join(f"  {line}" for line in self.document["commands"].values())
        return f"run {self.submitted.run} goes on by itself\n{commands}"


def execute(asked: Asked, way: Way = "follow") -> Report:
    """The report of a run: of this home's worker where one lives, else of this process.

    Raises:
        Detached: the run goes on without this process.
        UsageError: it is to be left alone, and there is no worker.
    """
    if way == "here":
        return running.execute(asked)
    if not _worker():
        if way == "detach":
            raise UsageError("no worker is up that would execute the run", "athanor up")
        return running.execute(asked)
    return running.execute(asked, _detached if way == "detach" else _followed)


def _worker() -> bool:
    """Whether this home has a worker; one that `up` started and that is gone is started again."""
    known = standing.known(project.home())
    if known is not None:
        standing.up(project.home(), known.wanted)
    return known is not None


def again(name: str) -> Asked:
    """What a run that ended is asked for once more: to go on, or anew where a gate refused it.

    Raises:
        UsageError: there is no such run, it is at work, or it did all that it was asked for.
        ConfigError: this code reads its config no more.
    """
    server = api.of(project.home())
    try:
        before = runs.find(name)
    except UsageError:
        given = cancelling.never_begun(server, name)
        if given is None:
            raise
        asked = submission.Submitted.model_validate(given["submitted"])
        config = running.RunConfig.model_validate_json(json.dumps(asked.document))
        return Asked(config, asked.wishes, project.root() / asked.file, run_id=given["run"])
    if before.state == "completed":
        raise UsageError(
            f"run {before.id} is complete: there is nothing to do again",
            f"athanor run {before.file}",
        )
    if before.state == "refused":
        file = project.root() / before.file
        return Asked(running.config_of(before), before.wishes, file)
    return running.going_on(before.id)


def _detached(asked: Asked, shown: Screen, begun: float) -> Report:
    raise Detached(submission.submit(asked))


def _followed(asked: Asked, shown: Screen, begun: float) -> Report:
    submitted = submission.submit(asked)
    shown.note(f"run {submitted.run} is submitted to the worker; Ctrl-C asks what becomes of it")
    seen = len(asked.before.attempts) if asked.before else 0
    record = Following(submitted, shown, seen).to_the_end()
    if record.state not in runs.FINISHED:
        raise _error(record)
    return _report(asked, record, begun, shown)


class Following:
    """One run, watched to its end."""

    def __init__(self, submitted: Submission, shown: Screen, seen: int) -> None:
        """`seen` attempts are over and told."""
        self.submitted = submitted
        self.shown = shown
        self.seen = seen
        self.asking = Asking(submitted, shown.note)
        self._told: dict[tuple[int, str], str] = {}
        self._watch = _nothing
        self._buried = 0.0

    def to_the_end(self) -> RunRecord:
        """The record of the run once nobody works on it any more.

        Raises:
            Detached: the user leaves it alone.
            AthanorError: it never began, or nobody goes on with it.
        """
        with _interruptions(self):
            while (ended := self.look()) is None:
                time.sleep(LOOK_S)
            return ended

    def look(self) -> RunRecord | None:
        """Tell what is new; the record where the run has ended."""
        if time.monotonic() - self._buried > BURY_S:
            self._buried = time.monotonic()
            with suppress(AthanorError, OSError):
                reaping.records()
        record = runs.load(self.submitted.run)
        if record is None or len(record.attempts) <= self.seen:
            self.asking.look(None)
            return None
        for number in range(self.seen, len(record.attempts)):
            for step in record.attempts[number].steps:
                self._tell(number, step)
        self._watch()
        if record.state not in ("running", "crashed"):
            return record
        if self.asking.look(record) and record.state == "crashed":
            return runs.load(record.id)
        return None

    def _tell(self, number: int, step: StepRecord) -> None:
        before = self._told.get((number, step.name))
        if before == step.state:
            return
        self._told[number, step.name] = step.state
        if step.state == "running" or (before is None and step.state == "executed"):
            self.shown.step_started(step.name, (step.reason,))
            journal = project.home() / "work" / str(step.key) / "journal.jsonl"
            self._watch = self.shown.follow(journal)
        if step.state in ("executed", "cached"):
            self._watch()
            self._watch = _nothing
            self.shown.step_done(step.name, step.state, step.seconds or 0.0)


@contextmanager
def _interruptions(one: Following) -> Iterator[None]:
    """Ctrl-C asks on a terminal, and cancels elsewhere; SIGTERM cancels."""
    try:
        yield
    except KeyboardInterrupt as stop:
        one.shown.close()
        if _leaves():
            raise Detached(one.submitted) from None
        _cancel(one, stop)
        raise
    except SystemExit as stop:
        _cancel(one, stop)
        raise


def _cancel(one: Following, stop: BaseException) -> None:
    """Stop the run; another Ctrl-C waits no longer for that."""
    run = one.submitted.run
    record = None
    with suppress(KeyboardInterrupt, AthanorError):
        cancelling.cancel(run, one.shown.note)
        record = runs.load(run)
    stop.add_note(f"athanor {'retry' if record is None else 'resume'} {run}")


def _leaves() -> bool:
    """Whether the user leaves the run alone; asked only where somebody can answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        sys.stderr.write("\ndetach, and let the run go on, or cancel it? [d/c] ")
        sys.stderr.flush()
        return not sys.stdin.readline().strip().lower().startswith("c")
    except KeyboardInterrupt:
        return True


def _report(asked: Asked, record: RunRecord, begun: float, shown: Screen) -> Report:
    """The receipt, read from what the worker stored.

    Raises:
        UsageError: the code was edited meanwhile.
    """
    planner, outcome = running.planned(asked.config, asked.wishes, record.set_aside)
    if not planner.complete:
        raise UsageError(
            f"run {record.id} is done ({record.state}), and the code was edited meanwhile: its"
            " results belong to the code before",
            f"athanor logs {record.id}",
        )
    steps = tuple(
        Step(name=one.name, state=one.state, reason=one.reason, seconds=one.seconds or 0.0)
        for one in record.last.steps
    )
    latest = Latest(record.id, record.mlflow_run_id)
    end = running.ended(asked.config, shown, begun, record.last.notes)
    return running.report(asked.config, outcome, steps, latest, end)


def _error(record: RunRecord) -> Exception:
    """The error that the run ended with, as it would have been raised here."""
    failure = record.last.error
    if record.state == "crashed":
        return ResourceError(
            f"the process of run {record.id} died again and again", f"athanor retry {record.id}"
        )
    if record.state == "interrupted" or failure is None:
        return Interrupted(
            f"run {record.id} was cancelled; finished steps and checkpoints are kept",
            f"athanor resume {record.id}",
        )
    return _raised(failure)


def _raised(failure: Failure) -> Exception:
    kind = vars(errors).get(failure.kind)
    if isinstance(kind, type) and issubclass(kind, AthanorError):
        return kind(failure.message, failure.remedy)
    return StepBroken(failure.message)


def _nothing() -> None:
    """No step is at work."""

"""What a follower asks Prefect now and then: whether its run waits, and whether it goes on."""

import time
from collections.abc import Callable

from components import project
from components.errors import (
    AthanorError,
    ConfigError,
    Interrupted,
    ResourceError,
    ServiceUnreachable,
    UsageError,
)
from pipelines import api
from pipelines.runs import RunRecord
from pipelines.workers import queue, standing, waiting
from pipelines.workers.queue import FlowRun
from pipelines.workers.submission import Submission

ASK_S = 1.0
PATIENCE_S = 2.0
"""A server that answers later is away: the follower is not stopped by it."""
QUIET_S = 3.0
"""What waits for less is not told."""
LOST_S = 10.0
"""What Prefect calls over and no record shows, nobody goes on with after this time."""


class Asking:
    """Tells what a run waits for, each thing once."""

    def __init__(self, submitted: Submission, say: Callable[[str], None]) -> None:
        self._submitted = submitted
        self._say = say
        self._told = ""
        self._asked = 0.0
        self._since: dict[str, float] = {}
        self._away = False
        self._over: float | None = None

    def look(self, record: RunRecord | None) -> bool:
        """Whether Prefect is sure that nobody goes on with a run that is not at work.

        Raises:
            AthanorError: it ended and never began.
        """
        now = time.monotonic()
        if now - self._asked < ASK_S:
            return False
        self._asked = now
        try:
            found = self._read(record)
        except ServiceUnreachable:
            self._unheard()
            return False
        self._heard()
        if found is None or not found.final or (record and record.state == "running"):
            self._over = None
            return False
        self._over = self._over or now
        if record is None:
            raise _refused(self._submitted.run, found)
        return now - self._over > LOST_S

    def _read(self, record: RunRecord | None) -> FlowRun | None:
        server = api.of(project.home(), PATIENCE_S)
        if server is None:
            raise ServiceUnreachable("no Prefect server is up", "athanor up")
        if record is not None and record.state == "running":
            at_work = {step.key for step in record.last.steps if step.state == "running"}
            steps = [one for one in queue.unbegun(server) if one.key and one.key in at_work]
            self._waits(steps)
            return None
        found = queue.state(server, self._submitted.flow_run_id)
        if record is not None:
            self._tell(f"the process of run {record.id} died; a worker goes on with it")
        elif found is None:
            raise UsageError(f"Prefect forgot run {self._submitted.run}", "run the same again")
        elif found.state in queue.UNBEGUN:
            self._waits([found])
        return found

    def _waits(self, some: list[FlowRun]) -> None:
        now = time.monotonic()
        known, self._since = self._since, {}
        for one in some:
            self._since[one.id] = known.get(one.id, now)
            if now - self._since[one.id] < QUIET_S:
                continue
            self._tell(f"{one.name if one.key else 'the run'} waits for {waiting.now(one)}")

    def _unheard(self) -> None:
        if not self._away:
            self._say("Prefect does not answer; the run is followed by its record")
        self._away = True
        if standing.running(project.home()) is None:
            self._tell("no worker lives; what works goes on: athanor up")

    def _heard(self) -> None:
        if self._away:
            self._say("Prefect answers again")
        self._away = False

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._say(text)
        self._told = text


def _refused(run: str, ended: FlowRun) -> AthanorError:
    """Why a run ended before it began."""
    if ended.state == "CANCELLED":
        return Interrupted(f"run {run} was cancelled before it began", f"athanor retry {run}")
    if ended.state == "FAILED":
        message, _, remedy = ended.message.partition("; ")
        return ConfigError(f"run {run} could not begin: {message}", remedy or "athanor doctor")
    return ResourceError(
        f"run {run} never began: {ended.message or ended.called}", f"athanor retry {run}"
    )

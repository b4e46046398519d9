"""`athanor cancel`: a run stops at its next checkpoint, wherever it works or waits."""

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from components import processes, project
from components.errors import ServiceUnreachable, UsageError
from components.records import Record
from pipelines import api, outages, reaping, runs
from pipelines.api import Api
from pipelines.runs import RunRecord
from pipelines.workers import process, queue, standing, waiting
from pipelines.workers.queue import FlowRun

PATIENCE_S = 30.0
PASSED_ON_S = 7.0
"""A worker passes the word on within three seconds: then the processes are asked themselves."""
HEARD_S = 5.0
"""A server that does not take the word by then is passed over: the processes are asked."""
LOOK_S = 0.2
MESSAGE = "cancelled by athanor cancel"


class Cancelled(Record):
    """What became of a run that was told to stop."""

    run: str
    state: Literal["queued", "running", "completed", "refused", "failed", "interrupted", "crashed"]
    """queued: it had not begun, and does not any more."""
    seconds: float


def cancel(name: str, say: Callable[[str], None] = lambda text: None) -> Cancelled:
    """Stop a run, or take it out of the queue; returns when it has stopped.

    Raises:
        UsageError: there is no such run, it is over, or it works on another host.
        ServiceUnreachable: it still works after 30 seconds.
    """
    begun = time.monotonic()
    run, record, flow_run = found(name)
    told = _told(flow_run) if flow_run is not None else None
    if told is not None:
        if record is None and told.state == "CANCELLED":
            return Cancelled(run=run, state="queued", seconds=_since(begun))
        if record is not None and record.state != "running":  # it was to go on
            return Cancelled(run=run, state=record.state, seconds=_since(begun))
    if told is None or standing.running(project.home()) is None:
        _signal(run, record)
    say(f"run {run} is asked to stop at a checkpoint")
    return _stopped(run, flow_run, begun)


def found(name: str) -> tuple[str, RunRecord | None, FlowRun | None]:
    """A run's id, its record where it has begun, its flow run where a worker does it or will.

    Raises:
        UsageError: there is no such run, or it is over.
    """
    reaping.records()
    server = api.of(project.home())
    record = None
    try:
        record = runs.find(name)
    except UsageError:
        queued = waiting.queued(name)
        if queued is None:
            raise
        return queued.name, None, queued
    flow_run = _flow_run(server, record)
    if flow_run is None and record.state != "running":
        raise UsageError(f"run {record.id} is not at work: {record.state}", "athanor runs")
    return record.id, record, flow_run


def never_begun(server: Api | None, run: str) -> Mapping[str, Any] | None:
    """What a run was submitted with that ended before it began."""
    if server is None:
        return None
    with suppress(ServiceUnreachable):
        one = queue.of_run(server, run)
        if one is not None and one.final:
            return queue.submitted(server, one)
    return None


def _flow_run(server: Api | None, record: RunRecord) -> FlowRun | None:
    """The flow run of a worker that does a run, or will go on with it."""
    if server is None:
        return None
    with suppress(ServiceUnreachable):
        one = queue.of_run(server, record.id)
        known = record.last.prefect_run_id
        if one is None and known and any(known == each.flow_run_id for each in process.at_work()):
            one = queue.state(server, known)
        if one is not None and not one.final:
            return one
    return None


def _told(flow_run: FlowRun) -> FlowRun | None:
    """The flow run after Prefect heard of it; None where Prefect is away."""
    server = api.of(project.home())
    if server is None:
        return None
    ask = partial(queue.cancel, server, flow_run.id, MESSAGE)
    with suppress(ServiceUnreachable):
        return outages.patiently(ask, lambda text: None, HEARD_S)
    return None


def _signal(run: str, record: RunRecord | None) -> None:
    """Ask the processes of a run themselves: nobody else would.

    Raises:
        UsageError: they are on another host.
    """
    if record is None or record.state != "running":
        return
    if processes.host(record.last.owner) != socket.gethostname():
        raise UsageError(
            f"run {run} works on {processes.host(record.last.owner)}",
            f"on that machine: athanor cancel {run}",
        )
    keys = {step.key for step in record.last.steps if step.state == "running"}
    steps = [one.owner for one in process.at_work() if one.key and one.key in keys]
    for owner in (*steps, record.last.owner):
        pid = int(owner.split(" ")[2])
        if processes.of(pid) == owner:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _stopped(run: str, flow_run: FlowRun | None, begun: float) -> Cancelled:
    server = api.of(project.home(), PATIENCE_S)
    signalled = False
    while time.monotonic() - begun < PATIENCE_S:
        reaping.records()
        record = runs.load(run)
        if not signalled and time.monotonic() - begun > PASSED_ON_S:
            signalled = True
            with suppress(UsageError):
                _signal(run, record)
        if record is not None and record.state != "running":
            return Cancelled(run=run, state=record.state, seconds=_since(begun))
        if record is None and server is not None and flow_run is not None:
            with suppress(ServiceUnreachable):
                now = queue.state(server, flow_run.id)
                if now is None or now.final:
                    return Cancelled(run=run, state="queued", seconds=_since(begun))
        time.sleep(LOOK_S)
    raise ServiceUnreachable(
        f"run {run} was told to stop and still works after {PATIENCE_S:.0f} s",
        f"see what it does: athanor logs {run} -f",
    )


def text(done: Cancelled) -> str:
    """For a person."""
    if done.state == "queued":
        return (
            f"run {done.run} had not begun and is out of the queue\nagain: athanor retry {done.run}"
        )
    if done.state in runs.FINISHED:
        return f"run {done.run} was faster: {done.state}"
    return (
        f"run {done.run} stopped after {done.seconds:.1f} s; finished steps and checkpoints are"
        f" kept\ngo on with it: athanor resume {done.run}"
    )


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 2)

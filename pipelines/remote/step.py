"""The process of one step for another machine's run: forked warm, alone with its places.

It is a session of its own, so it outlives the worker that forked it and an outage of the door.
What it came to lies on the disk before anybody is told, and is handed in by whoever can.
"""

import os
import shutil
import signal
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from components import files, leases, processes, project
from components.errors import AthanorError
from pipelines import child, likeness
from pipelines.door.talk import Given
from pipelines.places import Held
from pipelines.remote import bringing
from pipelines.remote.mirror import Mirror
from pipelines.remote.server import Away, NotWanted, Server
from pipelines.workers import parcels, process
from pipelines.workers.parcels import Outcome
from pipelines.workers.process import AtWork

PRELOAD = ("pipelines.remote.step", "pipelines.workers.flows", "requests")
"""Beside the libraries of the steps; none of them starts a thread or touches a device."""

HAND_IN_S = 20.0
"""How long a step's process tries to hand in; then its places are free, and the worker does it."""

SCRATCH = ("checkpoints", "compress", "champion")


def main(server: Server, given: Given, held: Held | None, code: str) -> None:
    """Execute a step and hand in what it came to; nothing where the source is no longer `code`."""
    child.forked()
    work = AtWork(
        flow_run_id=given.flow_run_id,
        flow="step",
        owner=processes.this(),
        devices=held.devices if held else (),
        key=given.key,
    )
    process.note(work)
    if likeness.code() != code:
        raise SystemExit(1)
    folder = project.home() / "work" / given.key
    with files.locked(lock(given.key)), leases.held():
        _enter(folder, given.place)
        try:
            _work(server, given, folder)
        except NotWanted:
            process.forget(given.flow_run_id)


def lock(key: str) -> Path:
    """Held while a process of this home works on a step: one at a time, of whichever try."""
    return project.home() / "locks" / f"step-{key}.lock"


def delivered(server: Server, work: AtWork) -> bool:
    """Hand in what a step left; False where it left nothing.

    Raises:
        Away: the door does not answer.
    """
    key = work.key or ""
    with suppress(NotWanted):  # then nobody is to get it, and it is settled all the same
        if not bringing.hand_in(server, work.flow_run_id, key):
            return False
    outcome = parcels.read(project.home() / "work" / key / "outcome.json", work.flow_run_id)
    if outcome is not None and outcome.state == "done":
        for scratch in SCRATCH:
            shutil.rmtree(project.home() / "work" / key / scratch, ignore_errors=True)
    process.forget(work.flow_run_id)
    return True


def _work(server: Server, given: Given, folder: Path) -> None:
    """Execute it with its journal shown at the door; whatever comes is an outcome."""
    mirror = Mirror(server, given.flow_run_id, folder)
    mirror.start(_stop)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        outcome = _outcome(server, given)
    finally:
        mirror.stop()
    made = {"host": processes.host(processes.this()), "devices": list(process.mine[0].devices)}
    outcome = bringing.as_told_there(outcome.model_copy(update={"made": made}), given)
    parcels.write(folder / "outcome.json", outcome)
    deadline = time.monotonic() + HAND_IN_S
    with suppress(Away):
        server.patiently(
            lambda: delivered(server, process.mine[0]), lambda: time.monotonic() > deadline
        )


def _outcome(server: Server, given: Given) -> Outcome:
    from pipelines.workers import flows

    name = given.flow_run_id
    try:
        arguments = parcels.unpacked(given.arguments)
        server.patiently(lambda: bringing.fetch(server, arguments), lambda: False)
    except NotWanted:
        raise
    except AthanorError as error:
        return Outcome(flow_run_id=name, state="error", value=parcels.told(error))
    except Exception:  # noqa: BLE001  the process's edge: the run must learn it
        return Outcome(flow_run_id=name, state="broken", value=traceback.format_exc())
    task = flows.Task(given.name, given.key, given.entry, given.arguments, given.resources)
    return flows.executed(name, task)


def _enter(folder: Path, place: str) -> None:
    """Go on with what an earlier try left here, unless the run dropped it: then begin anew."""
    mark = folder / "place"
    try:
        known = mark.read_text()
    except OSError:
        known = ""
    if known != place:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        files.write_bytes(mark, place.encode())


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(0.1)


def _terminated(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)

"""One step in a process of its own: its memory is freed for sure, and its death is only its own.

Processes come from a fork server that has imported the heavy libraries once, so a step starts in
milliseconds. A child ends with its parent, however that one ended, and leaves a checkpoint when
it is asked to stop.
"""

import gc
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from components import disk, project, workspace
from components.errors import AthanorError
from components.launch import ALONE, Launch
from components.records import Record

PRELOAD = [
    "pipelines.uncollected",
    "components.artifacts",
    "components.training.trained",
    "torch._dynamo",  # an optimizer imports it at its first step
    "components.export.graph",
    "components.evaluation.report",
    "great_expectations",
]
"""Imported once by the fork server, in the order in which steps want them; together they cost
seven seconds, most of it PyTorch and Great Expectations, which every step would pay again."""

SETTINGS = {
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "1",  # its threads would be there when the fork server forks
    # Threads that wait by spinning eat the other core: with a neighbour on two cores a training
    # step took 0.55 CPU seconds instead of 0.06 (torch 2.13, 2026-11). The result is the same.
    "OMP_WAIT_POLICY": "passive",
    # Gradients of large tables are else given back to the system and fetched again every step.
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
}
"""Environment of every step's process; what the user set stays."""

STOP_GRACE_S = 30
"""How long a step may take to reach a checkpoint once it is asked to stop."""

_context = multiprocessing.get_context("forkserver")


class StepCrashed(RuntimeError):
    """The process of a step died: killed, out of memory, lost. Worth one more try."""


class StepBroken(RuntimeError):
    """A step raised what no step should: our bug. The text is its traceback."""


def warm(validates: bool = True, extra: Sequence[str] = ()) -> None:
    """Start the fork server, which imports while the engines start, `extra` modules too.

    Where no data are validated it does without Great Expectations: three of its seven seconds.
    """
    from multiprocessing import forkserver

    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    needless = () if validates else ("great_expectations",)
    preload = [name for name in PRELOAD if name not in needless]
    _context.set_forkserver_preload([*preload, *extra])
    forkserver.ensure_running()


def run(
    entry: str,
    arguments: dict[str, Any],
    folder: Path,
    watch: Callable[[], None],
    launch: Launch = ALONE,
) -> Record:
    """The record that `module:function` returns in a process of its own.

    `watch` is called a few times a second while the step works. When the caller is interrupted,
    the step is asked to stop, gets time for a checkpoint, and the interruption goes on. `launch`
    says which devices the step sees, and by how many ranks it is trained.

    Raises:
        StepCrashed: the process died.
        StepBroken: it raised something that is no error of ours.
        AthanorError: the step's own error.
    """
    ours, theirs = _context.Pipe(duplex=False)
    order = _Order(entry, arguments, folder, launch, project.home())
    process = _context.Process(target=_main, args=(order, theirs))
    process.start()
    theirs.close()
    try:
        while not wait([ours, process.sentinel], timeout=0.2):
            watch()
        answer = _answer(ours)
    except BaseException:
        _stop(process)
        raise
    process.join()
    watch()
    if answer is None:
        raise StepCrashed(f"the process of {entry} ended with {_how(process.exitcode)}")
    kind, value = answer
    if kind == "broken":
        raise StepBroken(value)
    if kind == "error":
        raise value
    return value


def work(entry: str, arguments: dict[str, Any], launch: Launch) -> Record:
    """The record that `module:function` returns in this process, which is the step's own."""
    from components.training import interrupt

    launch.hide_devices()
    interrupt.install()
    if launch.processes > 1:
        from components.training import distribution

        return distribution.launch(entry, arguments, launch)
    module, _, name = entry.partition(":")
    return vars(import_module(module))[name](**arguments)


def _answer(ours: Connection) -> tuple[str, Any] | None:
    try:
        return ours.recv()
    except EOFError:
        return None


def _stop(process: BaseProcess) -> None:
    if process.is_alive() and process.pid:
        os.kill(process.pid, signal.SIGTERM)
        process.join(STOP_GRACE_S)
    if process.is_alive():
        process.kill()
        process.join()


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


class _Order(NamedTuple):
    """What a child has to do, and where."""

    entry: str
    arguments: dict[str, Any]
    folder: Path
    launch: Launch
    home: Path
    """The parent's, whatever the fork server's environment named when that was started."""


def _main(order: _Order, answer: Connection) -> None:
    """The child: a session of its own, so that Ctrl-C reaches only the parent, which asks it."""
    forked()
    os.environ["ATHANOR_HOME"] = str(order.home)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with workspace.opened(order.folder):
            answer.send(("done", work(order.entry, order.arguments, order.launch)))
    except AthanorError as error:
        answer.send(("error", error))
    except (KeyboardInterrupt, SystemExit):
        answer.close()
    except Exception as error:  # noqa: BLE001  the process's edge: the parent must learn it
        short = disk.shortage(error)
        answer.send(("error", short) if short else ("broken", traceback.format_exc()))


def forked() -> None:
    """Begin the life of a process that was forked warm, as a session of its own.

    What was imported before the fork is frozen: else each collection of garbage walks through it,
    and every page that it touches is copied.
    """
    os.setsid()
    gc.freeze()
    gc.enable()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

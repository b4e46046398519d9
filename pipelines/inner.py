"""A command of another checkout's, in processes of its own: none outlives the call.

The caller removes the folder in which they work, so everything that the command started (a step, a
server, a fork server in the middle of its imports) has ended when the call returns or raises.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from components.bundle import provenance
from pipelines import embedded, kernel

OURS = ("ATHANOR_", "GIT_", "MLFLOW_", "OPTUNA_", "PREFECT_")
"""Variables of these beginnings lead to the user's stores, servers and clone."""
GRACE_S = 90.0
"""How long an interrupted command may take to end in order."""
PR_SET_PDEATHSIG = 1


def athanor(words: Sequence[str], folder: Path, variables: dict[str, str], output: Path) -> int:
    """The exit code of a command that is run in `folder`; its answer goes to the file `output`.

    `variables` are set beside the user's own that lead nowhere; they name a home that no other
    process uses. What the command tells on standard error is passed on, until it is interrupted.
    """
    home = variables["ATHANOR_HOME"]
    quiet = threading.Event()
    try:
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", *words],
                cwd=folder,
                env=_kept() | variables,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C comes once: from here
                preexec_fn=_end_with_parent,
            )
        relay = threading.Thread(target=_pass_on, args=(process.stderr, quiet), daemon=True)
        try:
            relay.start()
            code = process.wait()
        except BaseException:
            quiet.set()  # how it ends inside is none of the user's
            _end(process)
            raise
    finally:
        _end_rest(home)
    relay.join(GRACE_S)
    return code


def _kept() -> dict[str, str]:
    """What the user's environment may say to it."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OURS) and name not in provenance.ENVIRONMENT
    }


def _end_with_parent() -> None:
    """Have the kernel ask this process to end when the one that started it is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _pass_on(source: IO[bytes], quiet: threading.Event) -> None:
    """Every line to our own standard error; read to the end, so that nobody waits for a reader."""
    for line in source:
        if not quiet.is_set():
            with suppress(OSError, ValueError):  # nobody listens to us
                sys.stderr.write(line.decode(errors="replace"))
                sys.stderr.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the command to end in order; by force after its time."""
    for number, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        if process.poll() is None:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)


def _end_rest(home: str) -> None:
    """Wait for the embedded server, which ends by itself when its last run has; end the others.

    A fork server looks whether its run still lives only when its imports are done.
    """
    deadline = time.monotonic() + GRACE_S
    while embedded.found(Path(home)) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    kernel.end(kernel.marked(f"ATHANOR_HOME={home}"))

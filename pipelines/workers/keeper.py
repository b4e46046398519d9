"""Starts again what `up` started and something killed: the servers and the worker.

It knows nothing but what `up` left in the home, imports nothing heavy, and looks every other
second. The worker starts it again where it was killed itself; `down` stops it first.
"""

import fcntl
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from components import processes
from components.errors import AthanorError
from pipelines import kernel, servers, starting, templates
from pipelines.workers import standing

NAME = "keeper"
LOOK_S = 2.0
LONGEST_PAUSE_S = 60.0

log = logging.getLogger(__name__)


def ensure(home: Path) -> None:
    """Start the keeper of a home where none lives."""
    with _lock(home).open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
    output = starting.log(home, NAME)
    output.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with output.open("ab") as sink:
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.workers.keeper", str(home)],
            env={**os.environ, **templates.import_path(), "ATHANOR_SERVER": f"{NAME} {home}"},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )


def stop(home: Path) -> bool:
    """Stop the keeper; whether there was one."""
    found = starting.marked(home, NAME)
    kernel.end(found)
    return bool(found)


def keep(home: Path) -> None:
    """Look after the home until `down` says that nothing is wanted any more."""
    with _lock(home).open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # another one was faster
        pause_s = LOOK_S
        while (wanted := standing.known(home)) is not None:
            try:
                healed = heal(home, wanted)
                pause_s = LOOK_S
            except (AthanorError, OSError) as error:
                healed, pause_s = (), min(2 * pause_s, LONGEST_PAUSE_S)
                log.warning("%s", error)
            if healed:
                log.warning("started again: %s", ", ".join(healed))
            time.sleep(pause_s)


def heal(home: Path, wanted: standing.Standing) -> tuple[str, ...]:
    """Start what died; gives the names.

    Raises:
        AthanorError: something does not come up.
    """
    dead = tuple(n for n, s in servers.known(home).items() if processes.dead(s.owner))
    if dead:
        servers.up(home)
    if processes.dead(wanted.owner):
        standing.up(home, wanted.wanted)
        dead = (*dead, standing.NAME)
    return dead


def _lock(home: Path) -> Path:
    path = home / "worker" / "keeper.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    keep(Path(sys.argv[1]))

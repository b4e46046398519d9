"""`athanor worker`: this machine's worker for another one's runs, in the foreground."""

import fcntl
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from components import processes, project
from components.errors import ResourceError, UsageError
from pipelines.door import talk
from pipelines.remote import joining, worker
from pipelines.remote import server as doors
from pipelines.wording import counted
from pipelines.workers import standing, upkeep
from pipelines.workers.inventory import Machine


class Wanted(NamedTuple):
    """What a command line asks for; None where it leaves open."""

    url: str
    name: str | None = None
    slots: int | None = None
    devices: str | None = None


def serve(wanted: Wanted, say: Callable[[str], None]) -> None:
    """Work for the runs behind a door until SIGTERM or Ctrl-C.

    Raises:
        UsageError: no door, no token, no such device, or nothing to give.
        IntegrityError: another token, or another clone.
        ServiceUnreachable: nothing answers.
        ResourceError: this home has a worker already.
    """
    home = project.home()
    name = wanted.name or socket.gethostname()
    if not re.fullmatch(talk.NAME, name):
        raise UsageError(f"--name {name}: letters, digits, dots and dashes name a worker", "")
    given = upkeep.wanted(home, wanted.slots, wanted.devices)
    if given is None:
        raise UsageError("this worker would have nothing to give", "--slots N or --devices 0,1")
    with _alone(home):
        server = joining.joined(wanted.url)
        if doors.open_way(wanted.url):
            say("plain HTTP: whoever listens on the way can read the token, and use it")
            say("  -> put TLS or a tunnel before the door (docs/how-to/another-machine.md)")
        say(f"{name} works for {wanted.url} with {_shown(given)}; Ctrl-C stops it")
        logging.basicConfig(
            format="%(asctime)s %(message)s", level=logging.WARNING, stream=sys.stderr
        )
        edited = worker.run(Machine(name, standing.of(given)), server, say)
    if edited:
        say("the code was edited: the worker starts again")
        os.environ[joining.AGAIN] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One worker a home: two would take each other's processes for lost.

    Raises:
        ResourceError: there is one already.
    """
    if (found := standing.running(home)) is not None:
        raise ResourceError(
            f"{home} has a worker for runs of its own (process {found.pid})",
            "athanor down, or name another home in ATHANOR_HOME",
        )
    path = home / "worker" / "remote.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.seek(0)
            who = [*held.read().split(" "), "", "", "?"][2]
            raise ResourceError(
                f"{home} has a worker already (process {who})",
                "stop it first, or name another home in ATHANOR_HOME",
            ) from None
        held.truncate(0)
        held.write(processes.this())
        held.flush()
        yield


def _shown(given: standing.Wanted) -> str:
    parts = [counted(given.slots, "slot")] if given.slots else []
    parts += [f"device {each.name} ({each.memory_gb:g} GB)" for each in given.devices]
    return ", ".join(parts)

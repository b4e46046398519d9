"""The worker of this home: started, found, drained."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import NonNegativeInt

from components import files, processes
from components.errors import ResourceError
from components.records import Record
from pipelines import devices, kernel, places, servers, starting, templates
from pipelines.devices import Device
from pipelines.places import Place

NAME = "worker"
DRAIN_S = 45.0
"""A step gets 30 seconds for a checkpoint; then its process and the worker are ended."""


class Wanted(Record):
    """What the worker of a home gives to steps."""

    slots: NonNegativeInt
    devices: tuple[Device, ...] = ()


class Standing(Record):
    """A worker that was started."""

    owner: str
    """Host, boot, number and start of its process."""
    name: str
    wanted: Wanted

    @property
    def pid(self) -> int:
        """Number of its process."""
        return int(self.owner.split(" ")[2])


def usual() -> Wanted:
    """All devices of this machine, and a slot for each two cores, for steps that want none."""
    return Wanted(slots=max(1, (os.cpu_count() or 1) // 2), devices=devices.inventory())


def known(home: Path) -> Standing | None:
    """The worker that was started last, whether it lives or not."""
    try:
        return Standing.model_validate_json(_file(home).read_bytes())
    except (OSError, ValueError):
        return None


def running(home: Path) -> Standing | None:
    """The worker that lives; None where there is none."""
    found = known(home)
    return None if found is None or processes.dead(found.owner) else found


def up(home: Path, wanted: Wanted) -> Standing:
    """The home's worker, started where it does not live; another kind of one is drained first."""
    with files.locked(home / "worker" / "standing.lock"):
        found = running(home)
        if found is not None and found.wanted == wanted:
            return found
        if found is not None:
            drain(home)
        return _start(home, wanted)


def drain(home: Path, say: Callable[[str], None] = lambda text: None) -> bool:
    """Stop the worker once its steps left checkpoints; whether there was one.

    What does not stop in time is ended: its checkpoint is the last one that it wrote.
    """
    from pipelines.workers import inventory, process

    found = running(home)
    _file(home).unlink(missing_ok=True)
    if found is not None:
        kernel.end((found.pid,), patience_s=2.0)
        inventory.withdraw(home, found.name)
    busy = [each for each in process.at_work() if not each.dead]
    if busy:
        say(f"{len(busy)} flow runs are asked to stop")
    kernel.end(tuple(int(each.owner.split(" ")[2]) for each in busy), patience_s=DRAIN_S)
    return found is not None


def of(wanted: Wanted) -> tuple[Place, ...]:
    """The places that a worker has to give."""
    return (*places.slots(wanted.slots), *places.of(wanted.devices))


def _start(home: Path, wanted: Wanted) -> Standing:
    log = home / "logs" / "worker.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **servers.environment(home),
        **templates.prefect_settings(home),
        **templates.import_path(),
        "ATHANOR_SERVER": f"{NAME} {home}",
    }
    with log.open("ab") as sink:
        pid = subprocess.Popen(
            [sys.executable, "-m", "pipelines.workers", wanted.model_dump_json()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        ).pid
    found = Standing(owner=processes.of(pid), name=processes.host(processes.of(pid)), wanted=wanted)
    files.write_json(_file(home), found.model_dump(mode="json"))
    time.sleep(0.05)
    if processes.dead(found.owner):
        raise ResourceError(f"the worker did not start: read the end of {log}", "athanor up")
    return found


def _file(home: Path) -> Path:
    return home / "worker" / "worker.json"


def log(home: Path) -> Path:
    """Where the worker and its processes write what goes wrong."""
    return starting.log(home, NAME)

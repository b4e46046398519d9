"""Slots and devices: what a step holds alone while it runs.

A place is a file that the kernel keeps locked for whoever holds it. The worker locks all that a
step wants, or nothing, and hands the open files over to the step's process: from then on only its
death, however it comes, frees them. A worker that was killed and started again finds the places
of the steps that it left behind still held.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from components import project
from components.errors import ResourceError
from components.records import Record
from pipelines import devices
from pipelines.devices import Device
from pipelines.resources import Resources


class Place(Record):
    """One slot or one device."""

    path: Path
    device: Device | None = None
    """None: a slot, for a step that wants no device."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"device {self.device.name}" if self.device else f"slot {self.path.stem}"


class Held:
    """Locked places; they go to another process by being sent there."""

    def __init__(self, handles: Sequence[int], places: Sequence[Place]) -> None:
        self.handles = tuple(handles)
        self.places = tuple(places)

    @property
    def devices(self) -> tuple[str, ...]:
        """Numbers of the devices among them."""
        return tuple(each.device.name for each in self.places if each.device)

    @property
    def names(self) -> tuple[str, ...]:
        """What a person calls them."""
        return tuple(each.name for each in self.places)

    def __reduce__(self) -> Any:
        return _received, (tuple(map(reduction.DupFd, self.handles)), self.places)

    def drop(self) -> None:
        """Hold them no more in this process."""
        for handle in self.handles:
            os.close(handle)
        self.handles = ()


def slots(number: int) -> tuple[Place, ...]:
    """The slots of this home's worker."""
    folder = project.home() / "locks" / "slots"
    return tuple(Place(path=folder / f"{each}.lock") for each in range(number))


def of(devices: Sequence[Device]) -> tuple[Place, ...]:
    """The devices as places; every project of a user on this machine sees the same locks."""
    folder = Path(tempfile.gettempdir()) / f"athanor-{os.getuid()}"
    return tuple(Place(path=folder / f"device-{each.uuid}.lock", device=each) for each in devices)


def fits(wanted: Resources, places: Sequence[Place]) -> bool:
    """Whether all places together, were they free, could ever serve a step."""
    if wanted.gpus:
        return len(_suitable(wanted, places)) >= wanted.gpus
    return any(each.device is None for each in places) and memory_gb("MemTotal") >= wanted.memory_gb


def take(wanted: Resources, places: Sequence[Place]) -> Held | None:
    """All that a step wants, locked; None, and nothing locked, where that is not free now."""
    if not wanted.gpus and memory_gb("MemAvailable") < wanted.memory_gb:
        return None
    number = wanted.gpus or 1
    handles: list[int] = []
    held: list[Place] = []
    for place in _suitable(wanted, places):
        if len(held) == number:
            break
        if (handle := _locked(place.path)) is not None:
            handles.append(handle)
            held.append(place)
    found = Held(handles, held)
    if len(held) == number:
        return found
    found.drop()
    return None


@contextmanager
def held(wanted: Resources, watch: Callable[[], None]) -> Iterator[Held]:
    """The devices of this machine that a step wants, held by this process; no slot is needed.

    `watch` is called a few times a second while others hold them.

    Raises:
        ResourceError: this machine has no such devices.
    """
    if not wanted.gpus:
        yield Held((), ())
        return
    here = of(devices.inventory())
    if not fits(wanted, here):
        raise ResourceError(
            f"a step wants {wanted.gpus} devices of {wanted.memory_gb:g} GB,"
            f" this machine has {len(here)}: {', '.join(map(shown, here)) or 'none'}",
            "ask for less in resources:, or run where they are",
        )
    while (found := take(wanted, here)) is None:
        watch()
        time.sleep(0.2)
    try:
        yield found
    finally:
        found.drop()


def free(places: Sequence[Place]) -> tuple[Place, ...]:
    """The places that nobody holds at this moment."""
    found = []
    for place in places:
        if (handle := _locked(place.path)) is not None:
            os.close(handle)
            found.append(place)
    return tuple(found)


def shown(place: Place) -> str:
    """A place in words."""
    device = place.device
    return f"device {device.name} of {device.memory_gb:g} GB" if device else "a slot"


def memory_gb(what: str) -> float:
    """`MemTotal` or `MemAvailable` of this machine; without end where the kernel does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return int(found[what].split()[0]) * 1024 / 1e9


def _suitable(wanted: Resources, places: Sequence[Place]) -> list[Place]:
    """Smallest devices first, so that a large one stays for who needs it."""
    if not wanted.gpus:
        return [each for each in places if each.device is None]
    able = [each for each in places if each.device and each.device.memory_gb >= wanted.memory_gb]
    return sorted(able, key=lambda each: each.device.memory_gb if each.device else 0.0)


def _locked(path: Path) -> int | None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _received(sent: Sequence[Any], places: Sequence[Place]) -> Held:
    return Held([each.detach() for each in sent], places)

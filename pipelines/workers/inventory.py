"""What each worker has to give: told by itself, read before a step waits for what nobody has."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pydantic import NonNegativeInt

from components import files, processes
from components.errors import ResourceError
from components.records import Record
from pipelines import places
from pipelines.devices import Device
from pipelines.places import Place
from pipelines.resources import Resources
from pipelines.wording import counted

LIVES_S = 60.0
"""A worker tells itself many times in this time; one that was silent for longer is not there."""

FORGOTTEN_S = 600.0
"""A machine that restarts comes back: until then a step may wait for what it had."""

LEAST_RUNS, RUNS_PER_PLACE = 4, 2
"""Runs at a time: enough that no place is idle while one of them does its light steps. Each costs
a process and connections; fifty at once were more than a PostgreSQL lets in (100 by default)."""


class Machine(NamedTuple):
    """What a worker has to give, for itself."""

    name: str
    places: tuple[Place, ...]


class Inventory(Record):
    """What one worker gives to steps, were everything free."""

    name: str
    owner: str
    """Host, boot, number and start of its process."""
    slots: NonNegativeInt = 0
    devices: tuple[Device, ...] = ()
    memory_gb: float | None = None
    """Of its machine; None where the kernel does not tell."""
    trouble: str = ""
    """Why it takes no step now."""


class Told(Record):
    """An inventory and when it was told last."""

    inventory: Inventory
    silent_s: float

    @property
    def alive(self) -> bool:
        """Whether its worker spoke lately."""
        return self.silent_s < LIVES_S


def of(machine: Machine) -> Inventory:
    """The inventory of the worker that this process is."""
    name, given = machine
    memory_gb = places.memory_gb("MemTotal")
    return Inventory(
        name=name,
        owner=processes.this(),
        slots=sum(each.device is None for each in given),
        devices=tuple(each.device for each in given if each.device),
        memory_gb=None if memory_gb == float("inf") else round(memory_gb, 1),
    )


def tell(home: Path, inventory: Inventory) -> None:
    """Note what a worker has, and that it lives; cheap enough for every heartbeat."""
    path = _file(home, inventory.name)
    document = inventory.model_dump(mode="json")
    with suppress(OSError):
        if path.read_bytes() == files.canonical(document) + b"\n":
            path.touch()
            return
    files.write_json(path, document)


def withdraw(home: Path, name: str) -> None:
    """Its worker ended in order and gives nothing any more."""
    _file(home, name).unlink(missing_ok=True)


def known(home: Path) -> tuple[Told, ...]:
    """Every worker that spoke within ten minutes; those that were drained are not among them."""
    found = []
    for path in sorted(_folder(home).glob("*.json")):
        with suppress(OSError, ValueError):
            silent_s = max(0.0, time.time() - path.stat().st_mtime)
            inventory = Inventory.model_validate_json(path.read_bytes())
            if silent_s < FORGOTTEN_S:
                found.append(Told(inventory=inventory, silent_s=silent_s))
    return tuple(found)


def most_runs(home: Path) -> int:
    """How many runs may be at work for the places that all known workers have."""
    given = [each.inventory for each in known(home)]
    return max(LEAST_RUNS, RUNS_PER_PLACE * sum(one.slots + len(one.devices) for one in given))


def able(wanted: Resources, inventory: Inventory) -> bool:
    """Whether a worker could serve a step, were all that it has free."""
    if wanted.gpus:
        enough = [each for each in inventory.devices if each.memory_gb >= wanted.memory_gb]
        return len(enough) >= wanted.gpus
    roomy = inventory.memory_gb is None or inventory.memory_gb >= wanted.memory_gb
    return inventory.slots > 0 and roomy


def demand(step: str, wanted: Resources, workers: Sequence[Inventory]) -> None:
    """Refuse a step that none of these workers can ever serve; where none is known, it may wait.

    Raises:
        ResourceError: what is wanted, and what each worker has.
    """
    if not workers or any(able(wanted, each) for each in workers):
        return
    has = "; ".join(f"{each.name} has {_given(each, wanted)}" for each in workers)
    lower = f"lower resources.{step.partition('-')[0]} in the config, or "
    join = "let a machine that has it join: athanor worker --server URL"
    raise ResourceError(
        f"no worker has {_asked(wanted)} for {step}: {has}",
        join if wanted == Resources() else lower + join,
    )


def demand_all(home: Path, resources: Mapping[str, Resources]) -> None:
    """Refuse a run of which a step wants what none of the home's workers can ever give.

    Raises:
        ResourceError: the first such step, what it wants, and what each worker has.
    """
    workers = [each.inventory for each in known(home)]
    for step, wanted in {**resources, "the other steps": Resources()}.items():
        demand(step, wanted, workers)


def _asked(wanted: Resources) -> str:
    if not wanted.gpus:
        return f"a slot with {wanted.memory_gb:g} GB" if wanted.memory_gb else "a slot"
    number = counted(wanted.gpus, "device")
    return f"{number} of {wanted.memory_gb:g} GB" if wanted.memory_gb else number


def _given(inventory: Inventory, wanted: Resources) -> str:
    if not wanted.gpus:
        slots = counted(inventory.slots, "slot")
        return slots if inventory.memory_gb is None else f"{slots} and {inventory.memory_gb:g} GB"
    sizes = Counter(each.memory_gb for each in inventory.devices)
    parts = [f"{count} of {size:g} GB" for size, count in sorted(sizes.items())]
    return " and ".join(parts) or "no device"


def _folder(home: Path) -> Path:
    return home / "worker" / "inventory"


def _file(home: Path, name: str) -> Path:
    return _folder(home) / f"{name}.json"

"""The devices of this machine."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from components.errors import ResourceError, UsageError
from components.records import Record

INVENTORY = "ATHANOR_INVENTORY"
"""File with a JSON list of devices that stands for what the driver tells: for tests."""


class Device(Record):
    """One accelerator."""

    name: str
    """What CUDA calls it: its number."""
    uuid: str
    memory_gb: float


def inventory() -> tuple[Device, ...]:
    """Every device that the driver tells of; none where there is no driver.

    Raises:
        ResourceError: the driver is there and does not answer.
    """
    if named := os.environ.get(INVENTORY):
        return tuple(Device.model_validate(one) for one in json.loads(Path(named).read_text()))
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    question = ["--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    asked = subprocess.run([command, *question], capture_output=True, text=True, timeout=60)
    if asked.returncode:
        said = (asked.stdout or asked.stderr).strip().splitlines() or ["nothing"]
        raise ResourceError(f"nvidia-smi fails: {said[0]}", "mend the driver, or: --slots N")
    return tuple(_device(line) for line in asked.stdout.strip().splitlines())


def chosen(names: Sequence[str]) -> tuple[Device, ...]:
    """The devices of these numbers or UUIDs.

    Raises:
        UsageError: there is no such device here.
    """
    known = inventory()
    found = []
    for name in names:
        matching = [one for one in known if name in (one.name, one.uuid)]
        if not matching:
            there = ", ".join(one.name for one in known) or "none"
            raise UsageError(
                f"--devices: this machine has no device {name!r}",
                f"there are: {there}" if known else "athanor up --slots N (steps run on the CPU)",
            )
        found.append(matching[0])
    return tuple(dict.fromkeys(found))


def _device(line: str) -> Device:
    index, uuid, memory_mib = (part.strip() for part in line.split(","))
    return Device(name=index, uuid=uuid, memory_gb=round(int(memory_mib) * 2**20 / 1e9, 1))

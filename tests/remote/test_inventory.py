"""A step that no worker can ever do is refused at once, by name."""

import os
import time
from pathlib import Path

import pytest

from components.errors import ResourceError
from pipelines.devices import Device
from pipelines.resources import Resources
from pipelines.workers import inventory
from pipelines.workers.inventory import Inventory


def device(number: int, memory_gb: float) -> Device:
    return Device(name=str(number), uuid=f"GPU-{number}", memory_gb=memory_gb)


BOX = Inventory(
    name="gpu-box",
    owner="gpu-box boot 1 1",
    slots=2,
    devices=(device(0, 24), device(1, 24)),
    memory_gb=64,
)
BARE = Inventory(name="bare", owner="bare boot 1 1", memory_gb=16)


def test_the_refusal_says_what_is_wanted_and_who_has_what() -> None:
    wanted = Resources(gpus=4, memory_gb=40)
    told = r"no worker has 4 devices of 40 GB for pretrain: gpu-box has 2 of 24 GB; bare has no dev"
    with pytest.raises(ResourceError, match=told) as refused:
        inventory.demand("pretrain", wanted, [BOX, BARE])
    assert refused.value.remedy.startswith("lower resources.pretrain in the config, or let ")


def test_what_no_config_asks_for_is_not_to_be_lowered() -> None:
    with pytest.raises(ResourceError, match="no worker has a slot for the other steps") as refused:
        inventory.demand("the other steps", Resources(), [BARE])
    assert refused.value.remedy.startswith("let a machine that has it join")


def test_memory_is_that_of_each_device() -> None:
    assert inventory.able(Resources(gpus=2, memory_gb=24), BOX)
    assert not inventory.able(Resources(gpus=1, memory_gb=25), BOX)


def test_a_step_without_devices_wants_a_slot_and_the_machines_memory() -> None:
    assert inventory.able(Resources(memory_gb=60), BOX)
    assert not inventory.able(Resources(memory_gb=65), BOX)
    with pytest.raises(ResourceError, match="no worker has a slot for prepare: bare has no slots"):
        inventory.demand("prepare", Resources(), [BARE])


def test_one_worker_that_can_is_enough_and_without_any_it_may_wait() -> None:
    wanted = Resources(gpus=2)
    inventory.demand("finetune", wanted, [])
    inventory.demand("finetune", wanted, [BARE, BOX])
    with pytest.raises(ResourceError, match="no worker has 2 devices for finetune"):
        inventory.demand("finetune", wanted, [BARE])


def test_a_silent_worker_counts_until_it_is_forgotten(home: Path) -> None:
    inventory.tell(home, BOX)
    inventory.tell(home, BARE)
    path = home / "worker/inventory/gpu-box.json"
    ago = time.time() - inventory.LIVES_S - 5
    os.utime(path, (ago, ago))
    assert [(one.inventory.name, one.alive) for one in inventory.known(home)] == [
        ("bare", True),
        ("gpu-box", False),
    ]
    ago = time.time() - inventory.FORGOTTEN_S - 5
    os.utime(path, (ago, ago))
    assert [one.inventory.name for one in inventory.known(home)] == ["bare"]


def test_a_drained_worker_gives_nothing(home: Path) -> None:
    inventory.tell(home, BOX)
    inventory.withdraw(home, "gpu-box")
    assert inventory.known(home) == ()


def test_runs_at_work_are_as_many_as_keep_all_known_places_busy(home: Path) -> None:
    assert inventory.most_runs(home) == 4
    inventory.tell(home, BARE)
    inventory.tell(home, BOX)
    places = sum(one.slots + len(one.devices) for one in (BARE, BOX))
    assert inventory.most_runs(home) == max(4, 2 * places)

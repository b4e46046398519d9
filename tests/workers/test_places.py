"""Slots and devices: held by one process, all or nothing, freed by any death."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from components.errors import ResourceError, UsageError
from pipelines import devices, places
from pipelines.devices import Device
from pipelines.places import Held, Place
from pipelines.resources import Resources


@pytest.fixture
def two(tmp_path: Path) -> tuple[Place, ...]:
    made = (("0", 24.0), ("1", 80.0))
    return tuple(
        Place(path=tmp_path / name, device=Device(name=name, uuid=name, memory_gb=gb))
        for name, gb in made
    )


def test_a_step_gets_all_that_it_wants_or_nothing(two: tuple[Place, ...]) -> None:
    first = places.take(Resources(gpus=1), two)
    assert first is not None
    assert places.take(Resources(gpus=2), two) is None
    assert len(places.free(two)) == 1, "what was locked in vain is free again"
    first.drop()
    both = places.take(Resources(gpus=2), two)
    assert both is not None
    assert both.devices == ("0", "1")


def test_the_smallest_device_that_suits_is_given(two: tuple[Place, ...]) -> None:
    small, large = places.take(Resources(gpus=1), two), places.take(Resources(gpus=1), two)
    assert small is not None
    assert small.devices == ("0",)
    assert large is not None
    assert large.devices == ("1",)
    small.drop()
    assert places.take(Resources(gpus=1, memory_gb=40), two) is None


def test_what_can_never_be_had_is_known_before(two: tuple[Place, ...], tmp_path: Path) -> None:
    slot = Place(path=tmp_path / "slot")
    assert places.fits(Resources(gpus=2), two)
    assert not places.fits(Resources(gpus=3), two)
    assert not places.fits(Resources(gpus=2, memory_gb=40), two)
    assert not places.fits(Resources(), two), "a step without a device wants a slot"
    assert places.fits(Resources(), (slot,))
    assert not places.fits(Resources(memory_gb=1e6), (slot,))


def _hold(held: Held, told: Connection) -> None:
    told.send(held.devices)
    signal.pause()


def test_places_go_to_a_process_and_are_free_when_it_is_killed(two: tuple[Place, ...]) -> None:
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    held = places.take(Resources(gpus=1), two)
    assert held is not None
    holder = context.Process(target=_hold, args=(held, theirs))
    holder.start()
    held.drop()
    assert ours.recv() == ("0",)
    assert [place.path for place in places.free(two)] == [two[1].path]
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()
    assert places.free(two) == two


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def write(text: str) -> None:
        (tmp_path / "inventory.json").write_text(text)
        monkeypatch.setenv(devices.INVENTORY, str(tmp_path / "inventory.json"))

    return write


ONE = '[{"name": "0", "uuid": "GPU-test-a", "memory_gb": 24.0}]'


def test_a_device_that_is_not_there_is_refused_by_name(inventory: Callable[[str], None]) -> None:
    inventory(ONE)
    assert devices.chosen(["0"]) == devices.chosen(["GPU-test-a"])
    with pytest.raises(UsageError, match="no device"):
        devices.chosen(["3"])


def test_a_run_without_a_worker_is_refused_what_the_machine_lacks(
    inventory: Callable[[str], None],
) -> None:
    inventory(ONE)
    wanted = Resources(gpus=2, memory_gb=40)
    with (
        pytest.raises(ResourceError, match="2 devices of 40 GB, this machine has 1: device 0 of"),
        places.held(wanted, lambda: None),
    ):
        pass


def test_a_run_without_a_worker_holds_its_devices(inventory: Callable[[str], None]) -> None:
    inventory(ONE)
    here = places.of(devices.inventory())
    with places.held(Resources(gpus=1), lambda: None) as held:
        assert held.devices == ("0",)
        assert places.free(here) == ()
    assert places.free(here) == here

"""A small tmpfs that is full at three boundaries: one line, exit 7, and on after freeing."""

import random
from pathlib import Path

import pytest

from components import disk, objects
from components.errors import ResourceError
from tests.faults import full, whole
from tests.pipelines import small_project

SEED = 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_full_disk_ends_a_run_in_one_line_and_a_freed_one_lets_it_go_on(tmp_path: Path) -> None:
    source = small_project.frozen(tmp_path / "source")
    chance = random.Random(SEED)
    far = [chance.randint(1, 4) for _ in range(3)]
    try:
        found = full.campaign(tmp_path, source, far)
    except PermissionError as refused:
        pytest.skip(str(refused))
    assert not [each for each in found if each.wrong], found
    assert all(" MB are free" in each.said for each in found[:-1]), found
    assert len(whole.bundles(tmp_path / "full/home")) == 1


def test_room_is_demanded_with_need_and_have(tmp_path: Path) -> None:
    disk.demand(tmp_path, 1, "a step")
    with pytest.raises(ResourceError, match=r"a step needs 1,000,000,000\.0 MB .* MB are free"):
        disk.demand(tmp_path, 10**15, "a step")


def test_an_object_that_is_absent_takes_no_room() -> None:
    assert objects.size(objects.put_bytes(b"four")) == 4
    assert objects.size("0" * 64) == 0


class Wrapped(Exception):
    """What a library makes of an error."""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (OSError(28, "No space left on device", "/x"), "cannot write /x: No space left"),
        (Wrapped("I/O error: No space left on device (os error 28)"), "No space left"),
        (Wrapped("(sqlite3.OperationalError) database or disk is full"), "No space left"),
        (Wrapped("(sqlite3.OperationalError) disk I/O error"), "Input/output error"),
        (OSError(5, "Input/output error"), "check the disk"),
    ],
)
def test_a_refusal_is_told_through_whatever_library_it_came(said: Exception, told: str) -> None:
    outer = Wrapped("could not store")
    outer.__cause__ = said
    assert told in str(disk.shortage(outer))


def test_other_errors_are_no_shortage() -> None:
    assert disk.shortage(ValueError("12")) is None
    assert disk.shortage(OSError(2, "No such file")) is None

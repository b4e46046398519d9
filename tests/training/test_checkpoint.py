"""Checkpoints are whole or absent, the last two are kept, and damage is noticed."""

import json
import logging
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from components.errors import ResourceError
from components.training.checkpoint import Checkpoints, Snapshot

IDENTITY = {"data": "a", "recipe": "b"}


def snapshot(step: int) -> Snapshot:
    tensors = {"model/w": torch.full((3,), float(step)), "generator/torch": torch.get_rng_state()}
    best = {"w": torch.ones(2)}
    return Snapshot(step, tensors, {"epoch": step, "loss": 0.1}, best, best_step=1)


@pytest.fixture
def three(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path, IDENTITY)
    for step in (1, 2, 3):
        checkpoints.save(snapshot(step))
    return checkpoints


def test_the_newest_comes_back_whole(three: Checkpoints) -> None:
    found = Checkpoints(three.folder, IDENTITY).load()
    assert found.step == 3
    assert found.facts == {"epoch": 3, "loss": 0.1}
    assert torch.equal(found.tensors["model/w"], torch.full((3,), 3.0))
    assert torch.equal(found.best["w"], torch.ones(2))


def test_two_are_kept_and_what_none_of_them_names_is_gone(three: Checkpoints) -> None:
    names = sorted(path.name for path in three.folder.iterdir())
    assert names == [
        "000000002.json",
        "000000002.safetensors",
        "000000003.json",
        "000000003.safetensors",
        "best-000000001.safetensors",
    ]


@pytest.mark.parametrize("name", ["000000003.safetensors", "000000003.json"])
def test_one_flipped_bit_in_the_newest_gives_the_one_before(
    three: Checkpoints, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = three.folder / name
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert three.load().step == 2
    assert "damaged" in caplog.text


def test_a_torn_manifest_or_a_missing_file_gives_the_one_before(three: Checkpoints) -> None:
    manifest = three.folder / "000000003.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[: len(whole) // 2])
    assert three.load().step == 2
    manifest.write_bytes(whole)
    (three.folder / "000000003.safetensors").unlink()
    assert three.load().step == 2


def test_tensors_without_their_manifest_do_not_exist(three: Checkpoints) -> None:
    (three.folder / "000000003.json").unlink()
    assert three.load().step == 2


def test_another_recipe_starts_afresh_and_says_so(
    three: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    other = Checkpoints(three.folder, IDENTITY | {"recipe": "c", "threads": "1"})
    with caplog.at_level(logging.WARNING):
        assert other.load() is None
    assert "is of other recipe, threads" in caplog.text
    assert not list(three.folder.iterdir())


def test_an_empty_folder_holds_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none", IDENTITY).load() is None


def test_the_manifest_names_every_file_with_its_sha256(three: Checkpoints) -> None:
    content = json.loads((three.folder / "000000003.json").read_text())["content"]
    assert {name for name, _ in content["files"].values()} == {
        "000000003.safetensors",
        "best-000000001.safetensors",
    }
    assert all(len(digest) == 64 for _, digest in content["files"].values())


@pytest.fixture
def no_room(three: Checkpoints) -> Iterator[Checkpoints]:
    """Three checkpoints; then the system refuses writes, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    yield three
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_named_with_its_remedy_and_the_former_checkpoint_stays(
    no_room: Checkpoints,
) -> None:
    with pytest.raises(ResourceError, match=r"cannot write .*4.safetensors: .*free some space"):
        no_room.save(snapshot(4))
    assert no_room.load().step == 3


def test_what_a_kill_left_of_a_save_is_cleared_away(three: Checkpoints) -> None:
    torn = three.folder / ".000000004.safetensors.abc.part"
    torn.write_bytes(b"half")
    assert three.load().step == 3
    assert not torn.exists()

"""What the tests of export, inference and compression start from, trained once per session."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from components.artifacts import Prepared, TrainedModel
from components.workspace import opened
from tests.compression import tiny


class Learnt(NamedTuple):
    """A data set and a model that has learnt it."""

    data: Prepared
    model: TrainedModel


def make(folder: Path) -> dict[str, Learnt]:
    """Both modalities, their objects in the folder's own home."""
    with pytest.MonkeyPatch.context() as patch, opened(folder / "work"):
        patch.setenv("ATHANOR_HOME", str(folder / "home"))
        found = {}
        for modality in ("text", "image"):
            data = tiny.prepared(modality)
            found[modality] = Learnt(data, tiny.model(data, folder / modality))
    return found


def hand_over(folder: Path, home: Path) -> None:
    """Give the objects to a test's home."""
    shutil.copytree(folder / "home" / "objects", home / "objects", dirs_exist_ok=True)

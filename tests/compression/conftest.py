"""Trained models, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.workspace import opened
from tests.compression import learnt
from tests.compression.learnt import Learnt


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Learnt]]:
    """A folder of trained models and their records."""
    folder = tmp_path_factory.mktemp("learnt")
    return folder, learnt.make(folder)


@pytest.fixture
def text(kitchen: tuple[Path, dict[str, Learnt]], home: Path) -> Learnt:
    """Texts and an encoder."""
    learnt.hand_over(kitchen[0], home)
    return kitchen[1]["text"]


@pytest.fixture
def image(kitchen: tuple[Path, dict[str, Learnt]], home: Path) -> Learnt:
    """Pictures and a convolutional network."""
    learnt.hand_over(kitchen[0], home)
    return kitchen[1]["image"]


@pytest.fixture(autouse=True)
def work(tmp_path: Path) -> Iterator[Path]:
    """The folder of the running step."""
    with opened(tmp_path / "work"):
        yield tmp_path / "work"

"""A small project, our packages as they stood when the tests began, and commands run in both."""

import os
import shutil
from pathlib import Path

import pytest

from components import files
from tests.pipelines import small_project


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of our packages that nobody edits."""
    return small_project.frozen(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A folder with the small project after its run, to be copied: `tiny`, and its `home`.

    Made once for all processes of the tests.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, whole = shared / "finished", shared / "finished/whole"
    with files.locked(shared / "finished.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            words = ("run", "configs/tiny.yaml")
            project = small_project.write(folder / "tiny")
            ran = small_project.athanor(project, folder / "home", words, source, timeout_s=1500)
            assert ran.code == 0, ran.err
            whole.touch()
    return folder


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project, which is the working folder of the test."""
    project = small_project.write(tmp_path / "tiny")
    monkeypatch.chdir(project)
    return project

"""A small project, our packages as they stood when the tests began, and commands run in both."""

from pathlib import Path

import pytest

from tests.pipelines import small_project


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of our packages that nobody edits."""
    return small_project.frozen(tmp_path_factory.mktemp("source"))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project, which is the working folder of the test."""
    project = small_project.write(tmp_path / "tiny")
    monkeypatch.chdir(project)
    return project

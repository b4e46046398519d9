"""A small project, our packages as they stood when the tests began, and commands run in both."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import cli
from tests.pipelines import small_project
from tests.pipelines.small_project import Said


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


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command in this process: what it answered."""

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = cli.run(words)
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run

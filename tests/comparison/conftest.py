"""A home with two versions of `reviews`, and commands run beside them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import cli
from tests.comparison import reviews
from tests.pipelines.small_project import Said
from tests.registry import stores


@pytest.fixture
def versions(
    home: Path, project: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The project; `reviews/1` has no shift, `reviews/2` has one."""
    (home / "templates").mkdir()
    shutil.copyfile(stores.template(tmp_path_factory), home / "templates" / "mlflow.db")
    reviews.write(project)
    assert [reviews.registered(project, tmp_path, shift) for shift in (0.0, 0.5)] == [1, 2]
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

"""A home with two versions of `reviews`, and commands run beside them."""

import shutil
from pathlib import Path

import pytest

from tests.comparison import reviews
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

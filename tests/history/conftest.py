"""Each test's home gets a copy of a migrated MLflow database."""

import shutil
from pathlib import Path

import pytest

from components import mlflow_store
from tests.registry import stores


@pytest.fixture(autouse=True)
def store(home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of a store of the test's own."""
    (home / "templates").mkdir()
    shutil.copyfile(stores.template(tmp_path_factory), home / "templates" / "mlflow.db")
    return mlflow_store.embedded_uri()

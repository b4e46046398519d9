"""`athanor up --artifacts`: files of runs and versions go to a bucket from now on."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

from components import bucket, mlflow_store, postgres, project
from components.bucket import Address, asking
from pipelines import database


def use(text: str, say: Callable[[str], None]) -> Address:
    """The place `s3://BUCKET/PREFIX`, proven to take and give files, remembered in the home.

    What was recorded stays where it lies, versions too: MLflow knows of each where its files are.

    Raises:
        As `asking.examine`; ResourceError: servers or runs of the home are at work.
    """
    there, before = bucket.parsed(text), bucket.address()
    if there != before:
        database.demand_idle(project.home())
    asking.examine(there)
    bucket.remember(there)
    _redirect(there)
    say(f"artifacts go to {there.shown}")
    return there


def backup_lines() -> list[str]:
    """What a copy of the home does not hold."""
    if (there := bucket.address()) is None:
        return []
    return [f"files of runs and versions lie in {there.shown}: not in the copy, copy them there"]


def _redirect(there: Address) -> None:
    """New runs of experiments that are there already put their files into the bucket.

    The default experiment keeps its folder: by that a home is known that lies elsewhere than
    before.
    """
    change = "UPDATE experiments SET artifact_location = {} || name WHERE experiment_id != 0"
    place = (f"{there.uri}/",)
    if postgres.address():
        postgres.rows("mlflow", change.format("%s"), place)
        return
    file = project.home() / "mlflow" / mlflow_store.DATABASE
    if mlflow_store.exists(file):
        with closing(sqlite3.connect(file, timeout=60)) as connection, connection:
            connection.execute(change.format("?"), place)

"""A registry with names and versions but no files: what the ledger needs, made in milliseconds."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from components import history, mlflow_store
from components.history import Event

NAME = "reviews"


def database(home: Path) -> Path:
    return home / "mlflow" / "mlflow.db"


def sql(home: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows, or for a change the number of rows that it met."""
    with sqlite3.connect(database(home)) as connection:
        cursor = connection.execute(statement, values)
        rows = cursor.fetchall() if cursor.description else [(cursor.rowcount,)]
    connection.close()
    return rows


def a_registry(home: Path, versions: int = 3, name: str = NAME) -> None:
    """A name with so many versions and no champion."""
    mlflow_store.open_database(database(home))
    now = int(time.time() * 1000)
    sql(home, "INSERT INTO registered_models(name, creation_time) VALUES (?, ?)", name, now)
    for version in range(1, versions + 1):
        sql(
            home,
            "INSERT INTO model_versions(name, version, creation_time, current_stage, source, "
            "status) VALUES (?, ?, ?, 'None', 'x', 'READY')",
            *(name, version, now),
        )
        history.record(name, "registered", version, evidence={"bundle": f"{version}" * 64})


def move(version: int, expected: int | None, event: str = "promoted", name: str = NAME) -> Event:
    facts = {"previous": expected, "why": "better", "evidence": {"p_value": 0.01}}
    return history.move(history.ledger(), name, event, version, **facts)


def a_story(home: Path) -> None:
    """Eight entries: three registered, then judged and promoted 1, judged and promoted 2, 3."""
    a_registry(home)
    history.record(NAME, "judged", 1, why="first")
    move(1, None)
    history.record(NAME, "judged", 2, previous=1, why="better")
    move(2, 1)
    history.record(NAME, "judged", 3, previous=2, why="better")

"""A home that lies elsewhere than it was made: what names its old place is put right.

MLflow records where a run's and a version's files are as absolute paths. Everything else in the
home is found from where the home is.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from components import databases, files

DATABASE = Path("mlflow", "mlflow.db")
ARTIFACTS = Path("mlflow", "artifacts")

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
"""Columns of MLflow that hold a place in the artifact folder (3.17.2)."""


def recorded(home: Path) -> Path | None:
    """The home that MLflow's database says it lies in; None where it says nothing."""
    database = home / DATABASE
    if not database.is_file():
        return None
    try:
        with databases.reading(database) as known:
            row = known.execute(
                "SELECT artifact_location FROM experiments WHERE experiment_id = 0"
            ).fetchone()
    except sqlite3.DatabaseError:
        return None  # damaged, or not MLflow's: whoever opens it says so
    place = Path(row[0]) if row and row[0] else None
    if place is None or not place.is_absolute() or place.parts[-3:] != (*ARTIFACTS.parts, "0"):
        return None
    return place.parents[2]


def settle(home: Path, to: Path | None = None) -> Path | None:
    """Put right what names another place; gives that place, None where nothing did.

    `to` is where the home will lie, if not where it is. Repeated after a kill it goes on: the
    database, whose entry tells the old place, comes last.
    """
    new = to or home
    if recorded(home) in (None, new):
        return None
    with files.locked(home / "mlflow" / "moved.lock"):
        old = recorded(home)
        if old is None or old == new:
            return None
        for note in sorted((home / "tracking").glob("*.json")):
            _rewrite_note(note, str(old), str(new))
        _rewrite_database(home / DATABASE, str(old), str(new))
    return old


def _rewrite_note(path: Path, old: str, new: str) -> None:
    """Put right what MLflow is still to show: its store and its journal."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
    changed = _rewritten(value, old, new)
    if changed != value:
        files.write_json(path, changed)


def _rewritten(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {name: _rewritten(part, old, new) for name, part in value.items()}
    if isinstance(value, list):
        return [_rewritten(part, old, new) for part in value]
    if isinstance(value, str):
        scheme = "sqlite:///" if value.startswith("sqlite:///") else ""
        rest = value.removeprefix(scheme)
        if rest == old or rest.startswith(f"{old}/"):
            return f"{scheme}{new}{rest[len(old) :]}"
    return value


def _rewrite_database(database: Path, old: str, new: str) -> None:
    """One transaction: a kill leaves all rows old or all new."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        there = {
            (table, column)
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
            for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")')
        }
        connection.execute("BEGIN IMMEDIATE")
        for table, column in PLACES:
            if (table, column) in there:
                for scheme in ("", "file://"):
                    before, after = f"{scheme}{old}/", f"{scheme}{new}/"
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '
                        f'WHERE substr("{column}", 1, ?) = ?',
                        (after, len(before) + 1, len(before), before),
                    )

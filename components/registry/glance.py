"""Who is champion, and when the newest version came: one look at MLflow's tables, without MLflow.

MLflow takes seconds to import, and a run of which everything is cached has nothing else to ask.
"""

import json
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from components import databases, mlflow_store
from components.errors import IntegrityError, ServiceUnreachable

TIMEOUT_S = 3.0


def newest(name: str) -> datetime | None:
    """When the newest version of a name was registered; None where there is none.

    Raises:
        ServiceUnreachable: what MLFLOW_TRACKING_URI names does not answer.
        IntegrityError: the database is damaged or gone.
    """
    uri = mlflow_store.tracking_uri()
    if uri.startswith(("http://", "https://")):
        query = urllib.parse.urlencode(
            {
                "filter": f"name = '{name}'",
                "order_by": "creation_timestamp DESC",
                "max_results": 1,
            }
        )
        found = _asked(uri, f"model-versions/search?{query}") or {}
        times = [int(one["creation_timestamp"]) for one in found.get("model_versions", [])]
    elif uri.startswith(mlflow_store.SCHEME):
        question = "SELECT MAX(creation_time) FROM model_versions WHERE name = ?"
        row = _looked_up(_file(uri), question, name)
        times = [int(row[0])] if row and row[0] is not None else []
    else:
        from components.history import database

        times = [each["created_ms"] for each in database.versions(uri, name)]
    return datetime.fromtimestamp(max(times) / 1000, UTC) if times else None


def champion(name: str) -> int | None:
    """The version that the alias `champion` names now; None where it names none.

    Raises:
        ServiceUnreachable: what MLFLOW_TRACKING_URI names does not answer.
        IntegrityError: the database is damaged or gone.
    """
    uri = mlflow_store.tracking_uri()
    if uri.startswith(("http://", "https://")):
        return _from_server(uri, name)
    if uri.startswith(mlflow_store.SCHEME):
        question = (
            "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = 'champion'"
        )
        row = _looked_up(_file(uri), question, name)
        return int(row[0]) if row else None
    from components.history import database

    return database.Database(uri).read(name).champion


def _file(uri: str) -> Path:
    return Path(unquote(uri.removeprefix(mlflow_store.SCHEME)))


def _looked_up(database: Path, question: str, name: str) -> tuple[Any, ...] | None:
    if not mlflow_store.exists(database):
        return None
    try:
        with databases.reading(database, TIMEOUT_S) as connection:
            return connection.execute(question, (name,)).fetchone()
    except sqlite3.OperationalError as error:
        raise ServiceUnreachable(f"{database} does not answer ({error})", "try again") from error
    except sqlite3.DatabaseError as error:
        remedy = "restore it from a backup: athanor restore FILE"
        raise IntegrityError(f"{database} is damaged ({error})", remedy) from error


def _from_server(uri: str, name: str) -> int | None:
    query = urllib.parse.urlencode({"name": name, "alias": "champion"})
    found = _asked(uri, f"registered-models/alias?{query}")
    try:
        return int(found["model_version"]["version"]) if found else None
    except (KeyError, ValueError) as error:
        raise ServiceUnreachable(f"{uri} does not answer ({error})", "athanor up") from error


def _asked(uri: str, question: str) -> dict[str, Any] | None:
    """The answer of MLflow's REST interface; None where it knows no such thing."""
    try:
        address = f"{uri.rstrip('/')}/api/2.0/mlflow/{question}"
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        if error.code in (400, 404):
            return None
        raise ServiceUnreachable(f"{uri} answers {error.code}", "athanor up") from error
    except (OSError, ValueError) as error:
        raise ServiceUnreachable(f"{uri} does not answer ({error})", "athanor up") from error

"""The champion's number without MLflow: one look at its database or its REST interface.

MLflow takes seconds to import, and a run of which everything is cached has nothing else to ask.
"""

import json
import os
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from components import mlflow_store, project
from components.errors import ServiceUnreachable

TIMEOUT_S = 3.0


def champion(name: str) -> int | None:
    """The version that the alias `champion` names now; None where it names none.

    Raises:
        ServiceUnreachable: the server in MLFLOW_TRACKING_URI does not answer.
        IntegrityError: the database is damaged or gone.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")):
        return _from_server(uri, name)
    path = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else ""
    return _from_database(Path(path) if path else project.home() / "mlflow" / "mlflow.db", name)


def _from_database(database: Path, name: str) -> int | None:
    if not mlflow_store.exists(database):
        return None
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=TIMEOUT_S) as connection:
        row = connection.execute(
            "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = 'champion'",
            (name,),
        ).fetchone()
    connection.close()
    return int(row[0]) if row else None


def _from_server(uri: str, name: str) -> int | None:
    query = urllib.parse.urlencode({"name": name, "alias": "champion"})
    address = f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias?{query}"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            return int(json.load(answer)["model_version"]["version"])
    except urllib.error.HTTPError as error:
        if error.code in (400, 404):
            return None
        raise ServiceUnreachable(f"{uri} answers {error.code}", "athanor up") from error
    except (OSError, ValueError, KeyError) as error:
        raise ServiceUnreachable(f"{uri} does not answer ({error})", "athanor up") from error

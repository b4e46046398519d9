"""The champion's number without MLflow: one look at its database or its REST interface.

MLflow takes seconds to import, and a run of which everything is cached has nothing else to ask.
"""

import json
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from urllib.parse import unquote

from components import mlflow_store
from components.errors import IntegrityError, ServiceUnreachable

TIMEOUT_S = 3.0


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
        return _from_file(Path(unquote(uri.removeprefix(mlflow_store.SCHEME))), name)
    from components.history import database

    return database.Database(uri).read(name).champion


def _from_file(database: Path, name: str) -> int | None:
    if not mlflow_store.exists(database):
        return None
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=TIMEOUT_S)
    try:
        row = connection.execute(
            "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = 'champion'",
            (name,),
        ).fetchone()
    except sqlite3.OperationalError as error:
        raise ServiceUnreachable(f"{database} does not answer ({error})", "try again") from error
    except sqlite3.DatabaseError as error:
        remedy = "restore it from a backup: athanor restore FILE"
        raise IntegrityError(f"{database} is damaged ({error})", remedy) from error
    finally:
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

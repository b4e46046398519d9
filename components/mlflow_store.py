"""Where MLflow's records lie, and how the house opens them.

By default one SQLite file and one artifact folder in the home; a PostgreSQL and a bucket where
they were named; MLFLOW_TRACKING_URI names a server instead. MLflow itself is imported only inside
functions: it takes seconds.
"""

import json
import os
import re
import shutil
import sqlite3
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from components import bucket, databases, files, postgres, processes, project
from components.bucket import asking
from components.errors import IntegrityError
from components.keeping import moved

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
SCHEME = "sqlite:///"
AWAY = (
    "INTERNAL_ERROR",
    "TEMPORARILY_UNAVAILABLE",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
)
"""Error codes of a server that does not answer."""
OWNER = "athanor.owner"
"""Tag of a run: the process that writes it."""


def settings() -> dict[str, str]:
    """Environment that MLflow must see before it is imported; what the user set stays.

    Nothing is sent home, pickles are refused. A request is sent once: MLflow's client would send
    every kind again after a lost answer, and a run or a version would be there twice. Who asks
    knows what may be asked again.
    """
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
        "MLFLOW_UV_AUTO_DETECT": "false",
        "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        **bucket.settings(),
    }


def apply_settings() -> None:
    """Put the settings into this process's environment where the user set nothing.

    Raises:
        ResourceError: the home names a bucket, and boto3 is not installed.
    """
    # Type hints on a pyfunc make MLflow check inputs by a schema of its own, and warn more.
    warnings.filterwarnings("ignore", message=".*Add type hints to the", category=UserWarning)
    for name, value in settings().items():
        os.environ.setdefault(name, value)
    asking.apply()


def embedded_uri() -> str:
    """The tracking URI of the home's own store: a SQLite file, or the PostgreSQL that was named."""
    if there := postgres.address():
        return there.url("mlflow")
    return f"{SCHEME}{project.home() / 'mlflow' / DATABASE}"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI where it is set, else the home's own store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or embedded_uri()


def store(uri: str) -> str:
    """The store behind an address: the server that `athanor up` starts serves the home's own file.

    Who only adds to that file does so without the server, which may be stopped at any time.
    """
    try:
        own = json.loads((project.home() / "servers.json").read_bytes())["mlflow"]["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return uri
    return embedded_uri() if uri.rstrip("/") == own else uri


def client(uri: str = "") -> "MlflowClient":
    """A client of tracking and registry, of a store that is ready for many processes."""
    apply_settings()
    uri = uri or tracking_uri()
    if uri.startswith(SCHEME):
        open_database(Path(unquote(uri.removeprefix(SCHEME))))
    if uri == embedded_uri():
        moved.settle(project.home())
    from mlflow import MlflowClient

    # The registry keeps its own default in the environment: the house has one store for both.
    return MlflowClient(uri, uri)


def open_database(database: Path) -> None:
    """Make the SQLite file once, from the template where there is one.

    Under a lock: of four processes that open a fresh MLflow store at once three crash
    (measured with 3.17.2).

    Raises:
        As `exists`.
    """
    if exists(database):
        return
    with files.locked(database.with_suffix(".lock")):
        if exists(database):
            return
        template = project.home() / "templates" / DATABASE
        with files.replacing(database, 0o600) as temporary:
            if template.is_file():
                shutil.copyfile(template, temporary)
            else:
                temporary.unlink()
                create_template(temporary)
            _place_artifacts(temporary, database.parent / "artifacts")


def exists(database: Path) -> bool:
    """Whether the SQLite file is there, whole.

    Raises:
        IntegrityError: it is damaged; or it is gone, and the files of its runs are not.
    """
    artifacts = database.parent / "artifacts"
    remedy = f"restore it from a backup; to begin with an empty registry, move {artifacts} aside"
    if database.is_file():
        databases.demand_whole(database, remedy)
        return True
    if artifacts.is_dir() and any(artifacts.iterdir()):
        raise IntegrityError(f"{database} is gone, and with it every run and version", remedy)
    return False


def create_template(target: Path) -> None:
    """Write an empty, fully migrated MLflow database; a copy of it opens in a fraction of a second.

    It takes seconds: make it once, at `<home>/templates/mlflow.db`.
    """
    apply_settings()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    target.parent.mkdir(parents=True, exist_ok=True)
    store = SqlAlchemyStore(f"{SCHEME}{target}", str(target.parent / "artifacts"))
    store.engine.dispose()


def artifact_root() -> str:
    """Where files go that the home's own store knows of: its folder, or the bucket."""
    there = bucket.address()
    return there.uri if there else str(project.home() / moved.ARTIFACTS)


def artifact_location(uri: str, experiment: str) -> str | None:
    """Where an experiment's files go: beside an embedded database; a server decides for itself."""
    if uri == embedded_uri():
        return f"{artifact_root()}/{experiment}"
    if not uri.startswith(SCHEME):
        return None
    folder = Path(unquote(uri.removeprefix(SCHEME))).parent / "artifacts" / experiment
    return str(folder)


def experiment_id(client: "MlflowClient", uri: str, name: str) -> str:
    """Id of an experiment, made when absent; two processes that make it at once both get it."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location(uri, name))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return found.experiment_id


def _place_artifacts(database: Path, artifacts: Path) -> None:
    """Point the default experiment, made with the template, at this home's artifacts."""
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0",
            (str(artifacts / "0"),),
        )
    connection.close()


def shown_uri(uri: str = "") -> str:
    """The tracking URI without the password that it may hold."""
    return re.sub(r"(//[^/:@]*):[^/@]*@", r"\1:***@", uri or tracking_uri())


def owner_tags() -> dict[str, str]:
    """Who writes a run: host, boot, process and its start, so that a dead owner can be told."""
    return {OWNER: processes.this()}

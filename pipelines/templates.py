"""Empty, migrated databases of Prefect, MLflow and Optuna, made once and copied into each home.

A first start then copies three small files instead of running some hundred migrations: half of
Prefect's start and seconds of MLflow's (19 against 13 CPU seconds, Prefect 3.8.8). `make setup`
runs `python -m pipelines.templates`; without templates everything works, slower once per home.
"""

import importlib.metadata
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from components import files, mlflow_store, postgres
from components.errors import ResourceError

STORES = ("prefect", "mlflow", "optuna")

MAKERS = {
    "prefect": "import asyncio; from prefect.server.database import provide_database_interface;"
    " asyncio.run(provide_database_interface().create_db())",
    "mlflow": "import sys; from pathlib import Path; from components import mlflow_store;"
    " mlflow_store.create_template(Path(sys.argv[1]))",
    "optuna": "import sys; from optuna.storages import RDBStorage;"
    " RDBStorage(f'sqlite:///{sys.argv[1]}').engine.dispose()",
}
"""What a fresh process runs to make each store's database at the path it is given."""


def folder() -> Path:
    """Where the templates of this environment lie."""
    return Path(sys.prefix) / "share" / "athanor" / "templates"


def versions() -> dict[str, str]:
    """The installed version of each library that owns a store."""
    return {name: importlib.metadata.version(name) for name in STORES}


def fresh(folder: Path) -> bool:
    """Whether the folder holds templates of exactly the installed versions."""
    return _versions(folder / "versions.json") == versions() and all(
        (folder / f"{name}.db").is_file() for name in STORES
    )


def build(folder: Path) -> None:
    """Make the templates in the folder; nothing happens when they are fresh.

    Raises:
        ResourceError: a library could not make its database.
    """
    with files.locked(folder / "lock"):
        if fresh(folder):
            return
        with tempfile.TemporaryDirectory(prefix="athanor-") as scratch:
            for name in STORES:
                made = Path(scratch) / f"{name}.db"
                _make(name, made)
                with files.replacing(folder / made.name) as temporary:
                    _compact(made, temporary)
        files.write_json(folder / "versions.json", versions())


def install(home: Path) -> None:
    """Give a home the databases that it lacks; a database that is there is left alone."""
    if postgres.address():
        return
    paths = {name: home / name / f"{name}.db" for name in STORES}
    if all(path.is_file() for path in paths.values()):
        return
    templates = folder()
    if not fresh(templates):
        return
    with files.locked(home / "templates" / "lock"):
        for name in ("prefect", "optuna"):
            if not paths[name].is_file():
                with files.replacing(paths[name], 0o600) as temporary:
                    shutil.copyfile(templates / f"{name}.db", temporary)
                migrated(home, name)
        if not paths["mlflow"].is_file():
            files.copy(templates / "mlflow.db", home / "templates" / "mlflow.db")
            mlflow_store.open_database(paths["mlflow"])
            migrated(home, "mlflow")


def migrated(home: Path, name: str) -> None:
    """Note that a home's database has the layout of the installed version."""
    path = home / "stores.json"
    with files.locked(home / "stores.lock"):
        files.write_json(path, {**_versions(path), name: versions()[name]})


def current(home: Path, name: str) -> bool:
    """Whether a home's database is known to have the layout of the installed version."""
    return _versions(home / "stores.json").get(name) == versions()[name]


def prefect_settings(home: Path) -> dict[str, str]:
    """Environment in which every Prefect process of a home works; what the user set stays.

    Nothing is sent home, nothing is pickled, a person's profiles are ignored, and Prefect never
    starts a server of its own: two servers never open one SQLite file.
    """
    settings = {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_PROFILES_PATH": str(home / "prefect" / "profiles.toml"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    }
    if there := postgres.address():
        settings["PREFECT_API_DATABASE_CONNECTION_URL"] = there.url("prefect")
    return {name: os.environ.get(name, value) for name, value in settings.items()}


def import_path() -> dict[str, str]:
    """Environment in which a fresh process finds our packages, wherever it works."""
    own = str(Path(__file__).resolve().parents[1])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))}


def _make(name: str, target: Path) -> None:
    """Let a library make its database, in a process and a Prefect home of its own."""
    environment = {
        **os.environ,
        "PREFECT_HOME": str(target.parent),
        "PREFECT_PROFILES_PATH": str(target.parent / "profiles.toml"),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{target.parent}/prefect.db",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        **import_path(),
    }
    done = subprocess.run(
        [sys.executable, "-c", MAKERS[name], str(target)],
        env=environment,
        cwd=target.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not target.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ResourceError(
            f"{name} {versions()[name]} could not make its database: {last}",
            "free disk space, or reinstall with: make setup",
        )


def _compact(source: Path, target: Path) -> None:
    """Write a database as one file, without the write-ahead log that it may have beside it."""
    target.unlink()
    connection = sqlite3.connect(source)
    try:
        connection.execute("VACUUM INTO ?", (str(target),))
    finally:
        connection.close()


def _versions(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    build(folder())

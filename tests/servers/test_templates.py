"""Databases come from templates, whole, private, and never over one that is there."""

import sqlite3
import stat
from pathlib import Path

import pytest

from components import files, mlflow_store
from pipelines import templates


@pytest.fixture
def installed(built: None, home: Path) -> Path:
    templates.install(home)
    return home


def tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def test_a_home_gets_all_three_databases(installed: Path) -> None:
    assert "flow_run" in tables(installed / "prefect/prefect.db")
    assert "experiments" in tables(installed / "mlflow/mlflow.db")
    assert "trials" in tables(installed / "optuna/optuna.db")
    for name in templates.STORES:
        assert stat.S_IMODE((installed / name / f"{name}.db").stat().st_mode) == 0o600
        assert templates.current(installed, name)


def test_a_template_is_one_file_without_a_log_beside_it(built: None) -> None:
    names = {path.name for path in templates.folder().iterdir()}
    assert names == {"lock", "versions.json", "prefect.db", "mlflow.db", "optuna.db"}


def test_the_default_experiment_keeps_its_files_in_this_home(installed: Path) -> None:
    with sqlite3.connect(installed / "mlflow/mlflow.db") as connection:
        [(place,)] = connection.execute("SELECT artifact_location FROM experiments")
    assert Path(place).is_relative_to(installed)


def test_a_database_that_is_there_is_left_alone(built: None, home: Path) -> None:
    files.write_bytes(home / "optuna/optuna.db", b"somebody's")
    templates.install(home)
    assert (home / "optuna/optuna.db").read_bytes() == b"somebody's"
    assert (home / "prefect/prefect.db").is_file()


def test_templates_of_another_version_are_not_used(tmp_path: Path, built: None) -> None:
    for name in templates.STORES:
        files.copy(templates.folder() / f"{name}.db", tmp_path / f"{name}.db")
    files.write_json(tmp_path / "versions.json", templates.versions())
    assert templates.fresh(tmp_path)
    files.write_json(tmp_path / "versions.json", {**templates.versions(), "mlflow": "0.1"})
    assert not templates.fresh(tmp_path)


def test_without_templates_a_home_still_works(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    templates.install(home)
    assert not (home / "mlflow/mlflow.db").exists()
    assert not templates.current(home, "prefect")


def test_the_users_settings_win(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    settings = templates.prefect_settings(home)
    assert settings["PREFECT_LOGGING_LEVEL"] == "DEBUG"
    assert settings["PREFECT_HOME"] == str(home / "prefect")
    assert settings["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"


def test_mlflow_opens_the_copied_database(installed: Path) -> None:
    uri = f"{mlflow_store.SCHEME}{installed / 'mlflow/mlflow.db'}"
    assert mlflow_store.client(uri).get_experiment("0").name == "Default"

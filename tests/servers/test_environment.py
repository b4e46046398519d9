"""`athanor env` points plain commands at the home's stores and respects what the user chose."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import servers


def test_without_servers_the_files_of_the_home_are_named(home: Path) -> None:
    found = servers.environment(home)
    assert found["MLFLOW_TRACKING_URI"] == f"sqlite:///{home}/mlflow/mlflow.db"
    assert found["OPTUNA_STORAGE"] == f"sqlite:///{home}/optuna/optuna.db"
    assert found["PREFECT_HOME"] == f"{home}/prefect"
    assert "PREFECT_API_URL" not in found


def test_the_users_choice_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://team.example")
    monkeypatch.setenv("PREFECT_API_URL", "https://flows.example/api")
    found = servers.environment(home)
    assert found["MLFLOW_TRACKING_URI"] == "https://team.example"
    assert found["PREFECT_API_URL"] == "https://flows.example/api"
    assert "PREFECT_API_AUTH_STRING" not in found


def test_an_address_from_an_earlier_env_is_no_choice(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = "http://127.0.0.1:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", earlier)
    assert servers.chosen("MLFLOW_TRACKING_URI") == earlier
    monkeypatch.setenv(servers.EXPORTED, json.dumps({"MLFLOW_TRACKING_URI": earlier}))
    assert servers.chosen("MLFLOW_TRACKING_URI") is None
    assert servers.environment(home)["MLFLOW_TRACKING_URI"].startswith("sqlite:///")


def test_the_shell_reads_back_what_was_meant() -> None:
    meant = {"A": "it's $HOME; rm -rf", "B": "two\nlines"}
    script = servers.shell(meant) + '\nprintf "%s|%s" "$A" "$B"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{meant['A']}|{meant['B']}"


def test_a_stale_prefect_address_is_unset() -> None:
    script = "PREFECT_API_URL=old\n" + servers.shell({}) + '\necho "<$PREFECT_API_URL>"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "<>\n"


def test_adopting_drops_a_stale_address(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    stale = "http://127.0.0.1:4200/api"
    os.environ |= {"PREFECT_API_URL": stale, "PREFECT_API_AUTH_STRING": "old"}
    os.environ[servers.EXPORTED] = json.dumps({"PREFECT_API_URL": stale})
    servers.adopt(home)
    assert "PREFECT_API_URL" not in os.environ
    assert "PREFECT_API_AUTH_STRING" not in os.environ
    assert os.environ["PREFECT_HOME"] == f"{home}/prefect"


@pytest.mark.slow
def test_env_of_standing_servers_reaches_both(standing: servers.Up, standing_home: Path) -> None:
    found = servers.environment(standing_home)
    mlflow, prefect = standing.servers.mlflow, standing.servers.prefect
    assert mlflow
    assert prefect
    assert found["MLFLOW_TRACKING_URI"] == mlflow.url
    assert found["PREFECT_API_URL"] == f"{prefect.url}/api"
    for name, words in (("prefect", "flow-run ls"), ("mlflow", "experiments search")):
        done = subprocess.run(
            [sys.executable, "-m", name, *words.split()],
            env={**os.environ, **found},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

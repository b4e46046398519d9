"""What dead runs left in Prefect, MLflow and Optuna is ended by `up`; what the living do is not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components import mlflow_store, processes
from pipelines import holding, reaping, runs, servers
from pipelines.runs import Wishes
from tests.pipelines import small_project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DEAD = processes.this().rpartition(" ")[0] + " 1"
"""This process's number, of another start."""

LEAVE = """
import json, sys
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.states import Running
@flow(name="train")
def train(run, owner): ...
@flow(name="another")
def another(run, owner): ...
@task
def prepare(): ...
made = []
with get_client(sync_client=True) as client:
    for made_by, owner in ((train, sys.argv[1]), (train, sys.argv[2]), (another, sys.argv[1])):
        run = client.create_flow_run(
            made_by, parameters={"run": "r", "owner": owner}, state=Running()
        )
        part = client.create_task_run(prepare, run.id, dynamic_key="0", state=Running())
        made.append([str(run.id), str(part.id)])
print(json.dumps(made))
"""
ASK = """
import json, sys
from uuid import UUID
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    print(json.dumps([
        [client.read_flow_run(UUID(run)).state.type, client.read_task_run(UUID(part)).state.type]
        for run, part in json.loads(sys.argv[1])
    ]))
"""


def with_prefect(home: Path, code: str, *words: str) -> Any:
    """What a script prints that works with a home's Prefect server."""
    environment = small_project.environment(home, ROOT) | servers.environment(home)
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_up_ends_what_the_dead_left_and_nothing_else(
    standing: servers.Up, standing_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANOR_HOME", str(standing_home))
    assert standing.servers.mlflow
    living = processes.this()
    left = with_prefect(standing_home, LEAVE, DEAD, living)
    client = mlflow_store.client(standing.servers.mlflow.url)
    tracked = [
        client.create_run("0", tags={mlflow_store.OWNER: owner}).info.run_id
        for owner in (DEAD, living)
    ]
    held = holding.begin("tiny", {}, "d", ("configs/tiny.yaml", Wishes()))
    runs.save(held.record.changed(owner=DEAD))
    runs.marker(held.id).write_text(json.dumps({"owner": DEAD}))
    before = with_prefect(standing_home, ASK, json.dumps(left))
    assert before == [["RUNNING", "RUNNING"]] * 3

    said = small_project.athanor(ROOT, standing_home, ("up", "--slots", "0", "--json"))
    assert said.code == 0, said.err
    assert said.json["started"] == []
    assert runs.find(held.id).state == "crashed"
    after = with_prefect(standing_home, ASK, json.dumps(left))
    assert after == [["CRASHED", "CRASHED"], ["RUNNING", "RUNNING"], ["RUNNING", "RUNNING"]]
    assert [client.get_run(run).info.status for run in tracked] == ["KILLED", "RUNNING"]
    assert reaping.left() == ()
    assert "2 left by dead runs ended in Prefect" in said.err


def test_a_server_that_is_away_is_said_and_stops_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = home / "runs/left/20260101-000000-tiny-abcd"
    dead.parent.mkdir(parents=True)
    dead.touch()

    def away() -> int:
        raise ConnectionError("refused")

    monkeypatch.setattr(reaping, "prefect", away)
    monkeypatch.setattr(reaping, "mlflow", lambda: 0)
    said: list[str] = []
    with reaping.stores(said.append):
        said.append("the run")
    assert sorted(said) == ["dead runs in Prefect are ended later: refused", "the run"]
    assert reaping.left() == (dead.name,), "it was given up although nothing was ended"
    monkeypatch.setattr(reaping, "prefect", lambda: 0)
    with reaping.stores(said.append):
        pass
    assert reaping.left() == ()

"""A home with a bucket, from the run to the champion; a bucket that is damaged, or away."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components import files, mlflow_store, postgres
from components.tracking import Tracker, syncing, unshipped
from components.workspace import Workspace
from pipelines import bucket as artifacts
from pipelines import database, status
from tests.pipelines import small_project
from tests.pipelines.small_project import Said
from tests.registry import stores
from tests.servers import postgres_server
from tests.servers.artifacts.s3_server import BUCKET, PLACE, Server

pytestmark = pytest.mark.slow

CONFIG = """\
name: tiny
data: [words]
prepare: {kind: characters, min_count: 1, max_length: 12}
finetune:
  architecture: {kind: ngrams}
  objective: {kind: classification}
  optimizer: {lr: 1e-2}
  budget: {epochs: 4, batch_size: 16}
  threads: 1
baselines: [majority]
compress: [[]]
measure: {single_rows: 2, batches: 1, rounds: 1}
gate: {first: majority}
"""
PLAN = """
import sys
from pipelines import cli
assert cli.run(["plan", "configs/tiny.yaml"]) == 0
assert not {"boto3", "mlflow"} & set(sys.modules)
"""
"""A program that fails where a plan imports what it does not need."""


@pytest.fixture
def store(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    files.copy(stores.template(tmp_path_factory), home / "templates/mlflow.db")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose one run is as small as can be."""
    folder = small_project.write(tmp_path / "project")
    (folder / "configs/tiny.yaml").write_text(CONFIG)
    monkeypatch.chdir(folder)
    return folder


def test_a_run_ends_in_the_bucket_and_what_comes_back_is_verified(
    server: Server, home: Path, project: Path, said: Callable[..., Said]
) -> None:
    artifacts.use(PLACE, str)

    ran = small_project.athanor(project, home, ["run", "configs/tiny.yaml"])
    assert ran.code == 0, ran.err
    assert not [each for each in (home / "mlflow/artifacts").rglob("*") if each.is_file()]
    [model] = [key for key in server.objects() if key.endswith("bundle/model.onnx")]
    assert model.startswith("house/tiny/models/")
    assert [key for key in server.objects() if key.endswith("journal.jsonl")]

    shutil.rmtree(home / "bundles")
    predicted = small_project.athanor(project, home, ["predict", "tiny", "好天地人"])
    assert predicted.code == 0, predicted.err
    assert said("verify", "tiny").code == 0
    planned = subprocess.run([sys.executable, "-c", PLAN], env=small_project.environment(home))
    assert planned.returncode == 0

    description = model.replace("artifacts/bundle/model.onnx", "MLmodel")
    server.damage(description)
    found = said("verify", "tiny")
    assert (found.code, "s3://" in found.err, "MLmodel" in found.err) == (6, True, True)
    server.damage(model)
    shutil.rmtree(home / "bundles")
    for command in (("verify", "tiny"), ("predict", "tiny", "好")):
        found = said(*command)
        assert (found.code, "tiny/1/model.onnx is damaged" in found.err) == (6, True), found.err
    server.client.delete_object(Bucket=BUCKET, Key=model)
    assert said("predict", "tiny", "好").code == 6

    server.stop()
    try:
        for command in (("predict", "tiny", "好"), ("verify", "tiny"), ("gc",)):
            found = said(*command)
            assert (found.code, "does not answer" in found.err) == (5, True), found.err
    finally:
        server.start()


def test_what_a_run_measured_while_the_bucket_was_away_is_shipped_once(
    server: Server, home: Path, tmp_path: Path, store: None
) -> None:
    artifacts.use(PLACE, str)
    workspace = Workspace(tmp_path / "step")
    for step in (1, 2, 3):
        workspace.metrics({"train/loss": 1 / step}, step)
    (tmp_path / "a.txt").write_text("plot")
    workspace.file(tmp_path / "a.txt", "plots/roc.txt")
    workspace.trial(0, state="complete", value=0.5, params={"lr": 0.1}, seconds=2.0)

    server.stop()
    try:
        tracker = Tracker()
        parent = tracker.start_run("a-run", {"athanor.task": "reviews"})
        step = tracker.start_step(parent, "finetune", {}, {})
        tracker.follow(step, workspace.journal)
        tracker.end(step)
        tracker.finish(parent, {})
        assert "finetune" in tracker.close(8)
    finally:
        server.start()
    told = "\n".join(status.shipping_lines(unshipped.waiting(), unshipped.troubles()))
    assert "3 points" in told
    assert f"{PLACE} at {server.url} does not answer" in told
    assert tracker.problems == [], "nothing is given up"

    assert syncing.sync(60, str).remaining == ()
    client = mlflow_store.client()
    [experiment] = [one for one in client.search_experiments() if one.name == "reviews"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["a-run", "finetune", "trial-000"]
    run_id = next(run.info.run_id for run in runs if run.info.run_name == "finetune")
    points = client.get_metric_history(run_id, "train/loss")
    assert [point.step for point in points] == [1, 2, 3]
    assert [file.path for file in client.list_artifacts(run_id, "plots")] == ["plots/roc.txt"]


def test_records_on_a_postgresql_and_files_in_a_bucket_go_together(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGUSER", postgres_server.USER)
    monkeypatch.setenv("PGPASSWORD", postgres_server.PASSWORD)
    with postgres_server.running(postgres_server.wheel()) as running:
        database.use(running.name, str)
        client, uri = mlflow_store.client(), mlflow_store.tracking_uri()
        there = mlflow_store.experiment_id(client, uri, "a task")
        artifacts.use(PLACE, str)
        assert postgres.address()
        new = mlflow_store.experiment_id(client, uri, "another")
        assert client.get_experiment(there).artifact_location == f"{PLACE}/a task"
        assert client.get_experiment(new).artifact_location == f"{PLACE}/another"

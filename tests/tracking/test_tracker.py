import json
import subprocess
import sys

import pytest

from components import files, mlflow_store, processes
from components.tracking import Tracker
from components.tracking import journal as journals
from components.tracking.wanted import Wanted
from components.workspace import Workspace
from tests.registry.variants import a_prepared, a_variant

TASK = {"athanor.task": "reviews"}


def runs(client):
    [experiment] = [one for one in client.search_experiments() if one.name == "reviews"]
    found = client.search_runs([experiment.experiment_id], max_results=500)
    return {run.info.run_name: run for run in found}


def series(client, run, metric):
    points = client.get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in points]


def remaining(home):
    return list((home / "tracking").glob("*.json"))


def one_step(tracker, workspace, status="FINISHED"):
    parent = tracker.start_run("retrain-1", {"athanor.task": "reviews"}, {"seed": 3})
    step = tracker.start_step(
        parent,
        "finetune",
        {"optimizer": {"lr": 0.1}, "betas": [0.9, 0.98], "none": None},
        {"data": "d" * 64},
        {"athanor.arch": "ngrams"},
    )
    tracker.follow(step, workspace.journal)
    tracker.end(step, status)
    final = {"test_accuracy": 0.9, "final/size_mb": 1.5}
    tracker.finish(parent, final, {"athanor.gate": "passed"})


def test_a_run_shows_its_steps_their_lineage_and_its_summary(tmp_path, store, home):
    workspace = Workspace(tmp_path / "step")
    for step in range(1, 4):
        workspace.metrics({"train/loss": 1 / step}, step)
    workspace.params({"precision": "bf16"})
    (tmp_path / "a.txt").write_text("plot")
    workspace.file(tmp_path / "a.txt", "plots/roc.txt")
    tracker = Tracker()
    one_step(tracker, workspace)
    assert tracker.close(60) == []

    client = mlflow_store.client(store)
    shown = runs(client)
    assert set(shown) == {"retrain-1", "finetune"}
    parent, step = shown["retrain-1"], shown["finetune"]
    assert parent.info.status == step.info.status == "FINISHED"
    assert parent.data.metrics == {"final/test_accuracy": 0.9, "final/size_mb": 1.5}
    assert parent.data.tags["athanor.gate"] == "passed"
    assert step.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert step.data.tags["athanor.input.data"] == "d" * 64
    assert step.data.tags["athanor.owner"] == processes.this()
    assert step.data.params == {
        "optimizer.lr": "0.1", "betas": "[0.9, 0.98]", "precision": "bf16"
    }  # fmt: skip
    assert series(client, step, "train/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    names = {file.path for file in client.list_artifacts(step.info.run_id)}
    assert names == {"plots", "journal.jsonl"}
    [plot] = client.list_artifacts(step.info.run_id, "plots")
    assert plot.path == "plots/roc.txt"
    assert remaining(home) == []


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_step_that_did_not_finish_says_so(tmp_path, store, status):
    tracker = Tracker()
    one_step(tracker, Workspace(tmp_path / "step"), status)
    tracker.close(60)
    assert runs(mlflow_store.client(store))["finetune"].info.status == status


def test_a_run_that_nobody_ended_is_killed_at_close(store):
    tracker = Tracker()
    tracker.start_run("retrain-1", TASK)
    tracker.close(60)
    assert runs(mlflow_store.client(store))["retrain-1"].info.status == "KILLED"


def test_a_journal_is_followed_while_it_grows(tmp_path, store):
    workspace = Workspace(tmp_path / "step")
    tracker = Tracker()
    parent = tracker.start_run("retrain-1", TASK)
    step = tracker.start_step(parent, "finetune", {}, {}, {})
    tracker.follow(step, workspace.journal)
    run_id = tracker.run_id(step, timeout_s=60)
    assert run_id
    client = mlflow_store.client(store)
    workspace.metrics({"train/loss": 1.0}, 1)
    for _ in range(60):
        if client.get_run(run_id).data.metrics:
            break
        tracker._closing.wait(0.2)
    assert client.get_run(run_id).data.metrics == {"train/loss": 1.0}
    workspace.metrics({"train/loss": 0.5}, 2)
    tracker.end(step)
    tracker.finish(parent, {})
    tracker.close(60)
    assert [step for step, _ in series(client, client.get_run(run_id), "train/loss")] == [1, 2]


def test_trials_are_runs_below_their_step(tmp_path, store):
    workspace = Workspace(tmp_path / "step")
    for number, state in enumerate(("complete", "pruned", "failed")):
        value = None if state == "failed" else 0.5 + number
        workspace.trial(number, state=state, value=value, params={"lr": 0.1}, seconds=2.0)
    tracker = Tracker()
    one_step(tracker, workspace)
    tracker.close(60)
    shown = runs(mlflow_store.client(store))
    trial = shown["trial-001"]
    assert trial.data.tags["mlflow.parentRunId"] == shown["finetune"].info.run_id
    assert trial.data.metrics == {"value": 1.5, "seconds": 2.0}
    assert trial.data.params == {"lr": "0.1"}
    assert shown["trial-002"].info.status == "FAILED"


def test_a_variant_is_one_run_with_one_model_tied_to_its_data(tmp_path, store):
    tracker = Tracker()
    parent = tracker.start_run("retrain-1", TASK)
    raw = a_prepared(tmp_path).sources[0].raw
    tracker.log_variant(parent, a_variant(tmp_path / "a"), raw)
    tracker.log_variant(parent, a_variant(tmp_path / "b", name="int8", size=500), raw)
    tracker.finish(parent, {})
    assert tracker.close(60) == []
    client = mlflow_store.client(store)
    experiment = client.get_experiment_by_name("reviews").experiment_id
    models = {model.name: model for model in client.search_logged_models([experiment])}
    assert set(models) == {"fp32", "int8"}
    found = {(metric.key, metric.dataset_name): metric.value for metric in models["int8"].metrics}
    assert found["test/accuracy", "reviews-test"] == 0.9
    assert found["size_mb", None] == 0.0005
    run = runs(client)["variant-int8"]
    contexts = {entry.tags[0].value: entry.dataset.digest for entry in run.inputs.dataset_inputs}
    assert contexts == dict.fromkeys(("training", "validation", "test"), raw.tree)
    best = client.search_logged_models(
        [experiment],
        datasets=[{"dataset_name": "reviews-test", "dataset_digest": raw.tree}],
        order_by=[{"field_name": "metrics.test/accuracy", "ascending": False}],
    )
    assert len(best) == 2


def test_nothing_is_shipped_twice_after_a_restart(tmp_path, store, home):
    """Everything is sent again from the start, as if no answer had ever arrived."""
    workspace = Workspace(tmp_path / "step")
    for step in range(1, 6):
        workspace.metrics({"train/loss": 1 / step}, step)
    workspace.trial(0, state="complete", value=1.0, params={"lr": 0.1}, seconds=1.0)
    tracker = Tracker()
    one_step(tracker, workspace)
    notes = []
    for note in remaining(home):
        value = json.loads(note.read_bytes())
        notes.append({**value, "run_id": "", "sent": {}, "tried": True, "owner": ""})
    tracker.close(60)
    client = mlflow_store.client(store)
    before = runs(client)

    for value in notes:
        Wanted.model_validate(value).save()
    (tmp_path / "step" / "journal.shipped.json").unlink()
    second = Tracker()
    assert second.close(60) == []
    after = runs(client)
    assert {name: run.info.run_id for name, run in after.items()} == {
        name: run.info.run_id for name, run in before.items()
    }
    experiment = client.get_experiment_by_name("reviews").experiment_id
    assert len(client.search_runs([experiment])) == 3
    assert len(series(client, after["finetune"], "train/loss")) == 5
    assert remaining(home) == []


def test_a_resumed_training_reports_each_step_once(tmp_path, store):
    workspace = Workspace(tmp_path / "step")
    for step in (1, 2, 3, 2, 3, 4):  # killed after step 3, resumed from the checkpoint of step 1
        workspace.metrics({"train/loss": 1 / step}, step)
    with workspace.journal.open("a") as file:
        file.write('{"kind": "metrics", "val')
    tracker = Tracker()
    one_step(tracker, workspace)
    tracker.close(60)
    client = mlflow_store.client(store)
    found = series(client, runs(client)["finetune"], "train/loss")
    assert [step for step, _ in found] == [1, 2, 3, 4]


def test_an_outage_never_raises_and_leaves_a_note_that_the_next_tracker_brings(
    tmp_path, store, home, monkeypatch
):
    workspace = Workspace(tmp_path / "step")
    workspace.metrics({"train/loss": 1.0}, 1)
    for name, value in (("MAX_RETRIES", "0"), ("TIMEOUT", "1")):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)
    tracker = Tracker(uri="http://127.0.0.1:9")
    one_step(tracker, workspace)
    assert sorted(tracker.close(3)) == ["finetune", "retrain-1"]
    assert len(remaining(home)) == 2
    for note in remaining(home):  # the server comes back: here, it is another store
        value = json.loads(note.read_bytes())
        files.write_json(note, {**value, "uri": store})
    assert Tracker().close(60) == []
    client = mlflow_store.client(store)
    assert series(client, runs(client)["finetune"], "train/loss") == [(1, 1.0)]


KILLED = """
import os, signal
from pathlib import Path
from components.tracking import Tracker
from components.workspace import Workspace
tracker = Tracker()
parent = tracker.start_run("retrain-1", {"athanor.task": "reviews"})
step = tracker.start_step(parent, "finetune", {}, {}, {})
workspace = Workspace(Path(os.environ["ATHANOR_HOME"]) / "step")
tracker.follow(step, workspace.journal)
assert tracker.run_id(step, 60)
for number in range(500):
    workspace.metrics({"train/loss": 1.0 / (number + 1)}, number)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_a_killed_process_reported_arrives_and_its_runs_are_killed(store, home):
    done = subprocess.run([sys.executable, "-c", KILLED], check=False, timeout=120)
    assert done.returncode == -9
    client = mlflow_store.client(store)
    assert {run.info.status for run in runs(client).values()} == {"RUNNING"}
    assert Tracker().close(60) == []
    shown = runs(client)
    assert {run.info.status for run in shown.values()} == {"KILLED"}
    assert len(series(client, shown["finetune"], "train/loss")) == 500


def test_a_run_of_a_dead_process_without_a_note_is_killed_and_a_living_one_is_not(store):
    client = mlflow_store.client(store)
    experiment = mlflow_store.experiment_id(client, store, "reviews")
    host, boot, pid, _ = processes.this().split()
    for name, owner in (("dead", f"{host} {boot} {pid} 1"), ("alive", processes.this())):
        client.create_run(experiment, run_name=name, tags={mlflow_store.OWNER: owner})
    client.create_run(experiment, run_name="elsewhere", tags={mlflow_store.OWNER: "h b 1 1"})
    Tracker().close(60)
    states = {name: run.info.status for name, run in runs(client).items()}
    assert states == {"dead": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING"}


def test_a_value_that_the_store_refuses_does_not_hold_up_the_rest(tmp_path, store):
    tracker = Tracker()
    bad = tracker.start_run("bad", {**TASK, "": "a tag needs a name"})
    tracker.end(bad)
    good = tracker.start_run("good", TASK)
    tracker.finish(good, {"x": 1.0})
    assert tracker.close(60) == []
    assert runs(mlflow_store.client(store))["good"].data.metrics == {"final/x": 1.0}
    assert "bad is not shown" in tracker.problems[0]


@pytest.mark.parametrize("points", [10, 1000, 100_000])
def test_curves_are_thinned_to_two_thousand_points_and_keep_their_ends(tmp_path, points):
    kept = [index for index in range(points) if journals.keeps(index)]
    assert len(kept) <= 2000
    assert kept[: min(points, 1000)] == list(range(min(points, 1000)))


def test_a_thinned_curve_ends_where_it_ended(tmp_path):
    path = tmp_path / "journal.jsonl"
    with path.open("w") as file:
        for step in range(5000):
            line = {"kind": "metrics", "time": 1.0, "values": {"loss": step / 2}, "step": step}
            file.write(json.dumps(line) + "\n")
    found, state = [], journals.State("r")
    for portion in journals.portions(path, state):
        found += portion.points
        state = portion.state
    assert len(found) < 1300
    [last] = journals.rest(state)
    assert (last.step, last.value) == (4999, 2499.5)
    assert list(journals.portions(path, state)) == []


def test_settings_leave_alone_what_the_user_set(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    mlflow_store.apply_settings()
    import os

    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_a_password_in_the_uri_is_never_shown():
    assert mlflow_store.shown_uri("http://a:secret@host:5000") == "http://a:***@host:5000"

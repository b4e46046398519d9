"""The same promises over HTTP, with a real MLflow server that comes late and dies."""

import shutil
import time

import pytest

from components import mlflow_store, registry
from components.registry import fetching, moving
from components.steps.register import RegisterConfig, register
from components.tracking import Tracker
from components.workspace import Workspace
from tests.registry.variants import a_prepared, a_variant
from tests.tracking.mlflow_server import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path, home, store, monkeypatch):
    database = home / "server" / "mlflow.db"
    database.parent.mkdir()
    shutil.copyfile(home / "templates" / "mlflow.db", database)
    made = Server(home / "server", f"sqlite:///{database}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    yield made
    made.kill()


def test_versions_are_registered_found_fetched_and_promoted(tmp_path, home, server):
    server.start()
    data, config = a_prepared(tmp_path), RegisterConfig(name="reviews")
    first, second = (a_variant(tmp_path / str(s), seed=s, shift=s / 10) for s in range(2))
    one = register((first,), first.exported, config, data=data)
    two = register((second,), second.exported, config, data=data)
    again = register((first,), first.exported, config, data=data)
    assert (one.version, two.version, again.version) == (1, 2, 1)
    shutil.rmtree(home / "bundles")
    assert fetching.fetch("reviews", 2).digest == two.bundle
    moving.promote("reviews", 1, expected=None, why="first", evidence={})
    with pytest.raises(moving.ChampionMoved):
        moving.promote("reviews", 2, expected=None, why="stale", evidence={})
    moving.promote("reviews", 2, expected=1, why="better", evidence={})
    assert registry.resolve("reviews@champion").version == 2
    assert registry.alias("reviews") == 2
    assert [version.version for version in registry.versions("reviews")] == [1, 2]


def test_a_run_goes_on_through_outages_and_loses_nothing(tmp_path, server):
    """The server is absent at the start and is killed in the middle; no call ever waits."""
    workspace = Workspace(tmp_path / "step")
    tracker = Tracker("reviews")
    longest = 0.0

    def timed(call, *arguments):
        nonlocal longest
        begun = time.monotonic()
        result = call(*arguments)
        longest = max(longest, time.monotonic() - begun)
        return result

    parent = timed(tracker.start_run, "retrain-1", {})
    step = timed(tracker.start_step, parent, "finetune", {"lr": 0.1}, {}, {})
    timed(tracker.follow, step, workspace.journal)
    for number in range(300):
        workspace.metrics({"train/loss": 1 / (number + 1)}, number)
    server.start()
    assert tracker.run_id(step, 120)
    server.kill()
    for number in range(300, 600):
        workspace.metrics({"train/loss": 1 / (number + 1)}, number)
    timed(tracker.end, step)
    timed(tracker.finish, parent, {"test_accuracy": 0.9})
    time.sleep(2)
    server.start()
    assert tracker.close(180) == []
    assert longest < 1.0
    client = mlflow_store.client(server.uri)
    experiment = client.get_experiment_by_name("reviews").experiment_id
    shown = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(shown) == {"retrain-1", "finetune"}
    points = client.get_metric_history(shown["finetune"].info.run_id, "train/loss")
    assert [point.step for point in points] == list(range(600))
    assert shown["retrain-1"].data.metrics == {"final/test_accuracy": 0.9}
    assert {run.info.status for run in shown.values()} == {"FINISHED"}

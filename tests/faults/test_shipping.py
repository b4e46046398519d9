"""Metrics through an MLflow server that falls ill: no step waits, no point is lost or doubled."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import mlflow_store
from components.errors import ServiceUnreachable
from components.steps.register import RegisterConfig, register
from components.tracking import Tracker
from components.tracking import tracker as trackers
from components.tracking.shipping import Shipper
from components.workspace import Workspace
from tests.faults.proxy import Illness, Proxy
from tests.faults.shipped import difference
from tests.registry.variants import a_prepared, a_variant
from tests.tracking.mlflow_server import Server

pytestmark = pytest.mark.slow

STEP_S = 0.02


@pytest.fixture
def proxy(mlflow: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The address that the tracker gets; a request waits for an answer only shortly."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with Proxy(mlflow.port, delay_s=0.5) as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.url)
        yield made


class Steps:
    """A training: a metric every few milliseconds, and the longest that a step took."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.done, self.longest_s = 0, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._train)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _train(self) -> None:
        while not self._over.is_set():
            begun = time.monotonic()
            self.workspace.metrics({"train/loss": 1 / (self.done + 1)}, self.done)
            self.done += 1
            self._over.wait(STEP_S)
            self.longest_s = max(self.longest_s, time.monotonic() - begun)


def disturbed(
    name: str, illness: Illness, proxy: Proxy, folder: Path, ill_s: float = 2.5
) -> tuple[Path, list[str]]:
    """The journal of a training whose server is ill at its begin, in its middle and at its end,
    and the names of what was not shipped."""
    workspace = Workspace(folder / name)
    proxy.be(illness)
    tracker = Tracker(name)
    parent = tracker.start_run("retrain-1", {})
    step = tracker.start_step(parent, "finetune", {"lr": 0.1}, {}, {})
    tracker.follow(step, workspace.journal)
    training = Steps(workspace)
    try:
        time.sleep(ill_s)
        proxy.be("")
        until_shipped(workspace.journal)
        before, struck = training.done, proxy.struck
        proxy.be(illness)
        time.sleep(ill_s)
        assert proxy.struck > struck, "no request met the illness"
        assert training.done - before > ill_s / STEP_S / 4, "steps waited"
        proxy.be("")
        time.sleep(0.5)
    finally:
        training.stop()
    assert training.longest_s < 1.0
    for number in range(3):  # a search's trials, made while the server loses its answers
        workspace.trial(number, state="complete", value=1.0, params={"lr": 0.1}, seconds=1.0)
    proxy.be(illness)
    tracker.end(step)
    tracker.finish(parent, {"test_accuracy": 0.9})
    time.sleep(ill_s)
    proxy.be("")
    return workspace.journal, tracker.close(60)


def until_shipped(journal: Path) -> None:
    """Return when the first points are in MLflow: what comes next are points as well."""
    deadline = time.monotonic() + 60
    while not journal.with_suffix(".shipped.json").exists():
        assert time.monotonic() < deadline, "the tracker never reached the healthy server"
        time.sleep(0.05)


def shown(name: str, mlflow: Server) -> dict[str, list[str]]:
    """Ids of the runs of an experiment, by name."""
    client = mlflow_store.client(mlflow.uri)
    found: dict[str, list[str]] = {}
    experiment = client.get_experiment_by_name(name).experiment_id
    for run in client.search_runs([experiment], max_results=500):
        found.setdefault(run.info.run_name, []).append(run.info.run_id)
    return found


@pytest.mark.parametrize("illness", ["cut", "frozen", "500s", "gone"])
def test_every_point_arrives_once(
    illness: Illness, proxy: Proxy, mlflow: Server, tmp_path: Path
) -> None:
    journal, remaining = disturbed(illness, illness, proxy, tmp_path)
    assert remaining == []
    runs = shown(illness, mlflow)
    assert {name: len(ids) for name, ids in runs.items()} == {
        "retrain-1": 1, "finetune": 1, "trial-000": 1, "trial-001": 1, "trial-002": 1
    }  # fmt: skip
    found = difference(journal, mlflow_store.client(mlflow.uri), runs["finetune"][0])
    assert found.none, found
    if illness == "cut":
        lost = {path.rpartition("/mlflow/")[2] for path in proxy.cut}
        assert lost >= {"runs/create", "runs/log-batch"}


def test_the_comparison_sees_a_shipper_that_doubles(
    proxy: Proxy, mlflow: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points that carry the time of sending, as `mlflow.log_metric` stamps them."""
    honest = Shipper.points

    def stamped(self: Shipper, run_id: str, points: list) -> None:
        now = int(time.time() * 1000)
        honest(self, run_id, [point._replace(time_ms=now) for point in points])

    monkeypatch.setattr(Shipper, "points", stamped)
    journal, _ = disturbed("doubling", "cut", proxy, tmp_path)
    [run_id] = shown("doubling", mlflow)["finetune"]
    found = difference(journal, mlflow_store.client(mlflow.uri), run_id)
    assert found.doubled
    assert not found.none


def test_the_comparison_sees_a_shipper_that_loses(
    proxy: Proxy, mlflow: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that failed is taken for sent."""
    honest = Shipper.points

    def careless(self: Shipper, run_id: str, points: list) -> None:
        try:
            honest(self, run_id, points)
        except Exception as error:  # noqa: BLE001
            trackers.log.warning("dropped: %s", error)

    monkeypatch.setattr(Shipper, "points", careless)
    journal, _ = disturbed("losing", "500s", proxy, tmp_path)
    [run_id] = shown("losing", mlflow)["finetune"]
    found = difference(journal, mlflow_store.client(mlflow.uri), run_id)
    assert found.lost
    assert not found.none


@pytest.mark.parametrize("illness", ["cut", "frozen", "500s", "gone"])
def test_a_registry_that_is_away_is_named_and_the_next_try_makes_one_version(
    illness: Illness, proxy: Proxy, mlflow: Server, tmp_path: Path
) -> None:
    """A version that was made although its answer was lost is found, not made again."""
    config = RegisterConfig(name=f"model-{illness}")
    variant, data = a_variant(tmp_path / "variant"), a_prepared(tmp_path)
    proxy.be(illness)
    if illness == "cut":
        proxy.only_cut = "model-versions/create"
    with pytest.raises(ServiceUnreachable, match=f"{proxy.url} does not answer") as refused:
        register((variant,), variant.exported, config, data=data)
    assert proxy.struck > 0
    assert refused.value.exit_code == 5
    there = registry_at(mlflow, config.name)
    assert there == ([1] if illness == "cut" else [])
    proxy.be("")
    made = register((variant,), variant.exported, config, data=data)
    assert made.version == 1
    assert registry_at(mlflow, config.name) == [1]


def registry_at(mlflow: Server, name: str) -> list[int]:
    """Versions of a name that the server itself shows."""
    client = mlflow_store.client(mlflow.uri)
    return [int(one.version) for one in client.search_model_versions(f"name = '{name}'")]

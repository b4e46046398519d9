"""Whole runs whose servers go away while a training works: no step waits, nothing is lost."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components import mlflow_store
from pipelines import embedded, outages, starting, templates
from tests.faults import invariants
from tests.faults.proxy import Proxy
from tests.faults.shipped import difference
from tests.pipelines import small_project
from tests.tracking.mlflow_server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

EPOCHS = 300
STEPS = 10 * EPOCHS
RUN = (
    "run", "configs/tiny.yaml", "--set", "pretrain=~", "--set", "search=~",
    "--set", "compress=[[]]", "--set", "baselines=[majority]",
    "--set", f"finetune.budget={{epochs: {EPOCHS}, batch_size: 16, checkpoint_steps: 100}}",
)  # fmt: skip
PATIENCE_S = 480.0


class Run:
    """`athanor run` as a process; what its training wrote so far."""

    def __init__(self, folder: Path, home: Path, words: tuple[str, ...], **more: str) -> None:
        self.home = home
        self.project = folder / "tiny"
        if not self.project.exists():
            small_project.write(self.project)
        self.said = folder / "said.txt"
        environment = {**small_project.environment(home), "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}
        with self.said.open("w") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", *words],
                cwd=self.project,
                env={**environment, **more},
                stdout=sink,
                stderr=sink,
            )

    @property
    def journal(self) -> Path:
        """That of the training."""
        found = [path for path in self.home.glob("work/*/journal.jsonl") if _step(path)]
        assert found, self.said.read_text()
        return found[0]

    def step(self) -> int:
        """The last step that the training reported; 0 before."""
        return max([_step(path) for path in self.home.glob("work/*/journal.jsonl")], default=0)

    def until(self, step: int) -> int:
        """Wait for a step of the training; the step that it is at."""
        self.wait_for(lambda: self.step() >= step)
        return self.step()

    def wait_for(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.05)

    def end(self) -> tuple[int, str]:
        code = self.process.wait(PATIENCE_S)
        return code, self.said.read_text()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _step(journal: Path) -> int:
    for line in reversed(journal.read_bytes().split(b"\n")):
        if b'"train/loss"' in line and line.endswith(b"}"):
            return json.loads(line)["step"]
    return 0


def ask(home: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a home's Prefect database."""
    place = home / "prefect/prefect.db"
    return invariants.ask(place, query)


def finetune_run(server: Server, name: str = "tiny") -> str:
    """MLflow's id of the one training that it shows."""
    client = mlflow_store.client(server.uri)
    experiment = client.get_experiment_by_name(name).experiment_id
    found = client.search_runs([experiment], "tags.`athanor.stage` = 'finetune'")
    assert len(found) == 1, [run.info.status for run in found]
    assert found[0].info.status == "FINISHED"
    return found[0].info.run_id


def test_prefect_is_killed_and_mlflow_freezes(mlflow: Server, home: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, home, RUN, MLFLOW_TRACKING_URI=mlflow.uri)
    try:
        run.until(200)
        server = embedded.found(home)
        assert server is not None
        before = run.step()
        mlflow.freeze()
        os.kill(server.pid, signal.SIGKILL)
        time.sleep(5)
        during = run.step()
        mlflow.thaw()
        assert before + 50 < during < STEPS, (before, during)
        code, said = run.end()
    finally:
        mlflow.thaw()
        run.kill()
    assert code == 0, said
    assert "Traceback" not in said
    assert "EventsWorker" not in said
    assert "does not answer; the steps go on" in said
    found = difference(run.journal, mlflow_store.client(mlflow.uri), finetune_run(mlflow))
    assert found.none, found
    assert ask(home, "SELECT state_type FROM flow_run") == [("COMPLETED",)]
    tasks = dict(ask(home, "SELECT name, state_type FROM task_run"))
    assert tasks["finetune"] == tasks["promote"] == "COMPLETED"
    assert set(tasks.values()) == {"COMPLETED"}


@pytest.fixture
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Port and secret of a standing Prefect server, with a home of its own."""
    folder = tmp_path_factory.mktemp("prefect")
    templates.install(folder)
    server = starting.start(folder, "prefect", starting.port(None, 4300))
    try:
        starting.await_answers(folder, {"prefect": server}, print)
        yield server.port, starting.secret(folder)
    finally:
        embedded.kernel.end(starting.marked(folder, "prefect"))


def test_mlflow_is_killed_and_a_standing_prefect_answers_500_then_nothing(
    mlflow: Server, prefect: tuple[int, str], home: Path, tmp_path: Path
) -> None:
    """Prefect is still away when the chain ends: the run ends well, and a sync tells it."""
    port, secret = prefect
    with Proxy(port) as proxy:
        address = {
            "MLFLOW_TRACKING_URI": mlflow.uri,
            "PREFECT_API_URL": f"{proxy.url}/api",
            "PREFECT_API_AUTH_STRING": secret,
            "ATHANOR_PATIENCE_S": "3",
        }
        run = Run(tmp_path, home, (*RUN, "--set", "name=other"), **address)
        try:
            run.until(200)
            before = run.step()
            mlflow.kill()
            proxy.be("500s")
            time.sleep(5)
            during = run.step()
            assert proxy.struck > 0
            assert before + 50 < during < STEPS, (before, during)
            mlflow.start()
            proxy.be("gone")
            code, said = run.end()
        finally:
            run.kill()
        assert code == 0, said
        assert "Traceback" not in said
        assert "EventsWorker" not in said
        assert "does not know yet how the run ended" in said
        [untold] = outages.kept()
        assert untold.state == "COMPLETED"
        assert state_of(proxy, secret, untold.flow_run_id) != "COMPLETED"

        proxy.be("")
        assert state_of(proxy, secret, untold.flow_run_id) == "RUNNING"
        code, said = Run(tmp_path, home, ("sync",), **address).end()
        assert code == 0, said
        assert outages.kept() == ()
        assert state_of(proxy, secret, untold.flow_run_id) == "COMPLETED"
    client = mlflow_store.client(mlflow.uri)
    found = difference(run.journal, client, finetune_run(mlflow, "other"))
    assert found.none, found


def state_of(proxy: Proxy, secret: str, flow_run_id: str) -> str:
    """What Prefect's server says of a flow run, and `away` where it says nothing."""
    request = urllib.request.Request(f"{proxy.url}/api/flow_runs/{flow_run_id}")
    request.add_header("Authorization", f"Basic {base64.b64encode(secret.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)["state_type"]
    except OSError:
        return "away"

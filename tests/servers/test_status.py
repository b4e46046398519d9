"""`athanor status` and `athanor sync`: what is told, and that nothing heavy is imported for it."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components import files, mlflow_store, processes
from components.tracking import Tracker
from components.tracking.wanted import Wanted, new_handle
from components.workspace import Workspace
from pipelines import cli, outages, status
from tests.faults.proxy import Proxy
from tests.registry import stores

AWAY = "http://127.0.0.1:9"


@pytest.fixture
def store(home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The home's own store, empty."""
    (home / "templates").mkdir()
    shutil.copyfile(stores.template(tmp_path_factory), home / "templates" / "mlflow.db")
    return mlflow_store.embedded_uri()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict]]:
    """Exit code and document of a command in this process."""

    def run(*words: str) -> tuple[int, dict]:
        capsys.readouterr()
        return cli.run([*words, "--json"]), json.loads(capsys.readouterr().out)

    return run


def held_back(folder: Path) -> None:
    """A run with five points that its server never took."""
    workspace = Workspace(folder / "step")
    for step in range(5):
        workspace.metrics({"train/loss": 1 / (step + 1)}, step)
    tracker = Tracker("tiny", uri=AWAY)
    parent = tracker.start_run("retrain-1", {})
    step = tracker.start_step(parent, "finetune", {}, {}, {})
    tracker.follow(step, workspace.journal)
    tracker.end(step)
    tracker.finish(parent, {})
    assert sorted(tracker.close(20)) == ["finetune", "retrain-1"]


def test_what_waits_is_told_refused_and_at_last_shipped(
    home: Path, store: str, tmp_path: Path, said: Callable[..., tuple[int, dict]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    held_back(tmp_path)
    code, document = said("status")
    shipping = document["shipping"]
    assert (code, shipping["points"], shipping["untold"]) == (0, 5, 0)
    assert [(one["name"], one["points"]) for one in shipping["runs"]] == [
        ("retrain-1", 0), ("finetune", 5)
    ]  # fmt: skip
    assert {(one["store"], one["shown"]) for one in shipping["runs"]} == {(AWAY, False)}
    [trouble] = shipping["troubles"]
    assert trouble["store"] == AWAY
    assert "127.0.0.1" in trouble["message"]

    code, document = said("sync", "--timeout", "2")
    assert code == 5
    assert f"to be shipped to {AWAY}: 5 points of 2 runs" in document["error"]["message"]
    assert document["error"]["remedy"].endswith("athanor sync")

    for note in (home / "tracking").glob("*.json"):  # the server is back, as another store
        files.write_json(note, {**json.loads(note.read_bytes()), "uri": store})
    code, document = said("sync")
    assert (code, document["shipped"], document["remaining"]) == (0, 2, [])
    assert said("status")[1]["shipping"]["points"] == 0


def test_a_run_at_work_is_shown_with_its_step_and_progress(home: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "step")
    workspace.progress(10, 40, "epoch 1")
    facts = {"uri": AWAY, "experiment": "tiny", "owner": processes.this(), "started_ms": 1}
    parent = Wanted(handle=new_handle(), name="retrain-1", **facts)
    step = Wanted(
        handle=new_handle(), name="finetune", parent=parent.handle,
        journal=str(workspace.journal), **facts,
    )  # fmt: skip
    parent.save()
    step.save()
    [work] = status.working()
    assert (work.run, work.step, work.done, work.total) == ("retrain-1", "finetune", 10, 40)
    assert "finetune 10/40" in status.text(status.status())
    gone = processes.this().split()
    for wanted in (parent, step):
        wanted.owner = " ".join([*gone[:3], "1"])  # same number, another start: a dead process
        wanted.save()
    assert status.working() == ()


class Answers(BaseHTTPRequestHandler):
    """200 for /well/health, 500 for the rest."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path.startswith("/well") else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_a_server_is_up_failing_frozen_or_down(
    home: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(url: str) -> str:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        [service] = status.services(home)
        return service.state

    monkeypatch.setattr(status, "TIMEOUT_S", 5.0)
    assert seen(f"http://127.0.0.1:{port}/well") == "up"
    assert seen(f"http://127.0.0.1:{port}/ill") == "failing"
    assert seen(AWAY) == "down"
    monkeypatch.setattr(status, "TIMEOUT_S", 0.3)
    with Proxy(port) as proxy:
        proxy.be("frozen")
        assert seen(f"{proxy.url}/well") == "frozen"


def test_the_status_imports_nothing_heavy() -> None:
    heavy = ("numpy", "torch", "mlflow", "prefect", "sqlalchemy", "optuna")
    code = f"import sys, pipelines.status; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_prefect_was_not_told_is_counted(home: Path) -> None:
    outages.keep(outages.Untold(flow_run_id="1", store="home", state="COMPLETED", events=()))
    assert status.status().shipping.untold == 1

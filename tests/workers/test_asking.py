"""Prefect's API by plain HTTP, what waits in words, and a run that is told from its record."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from components import files, processes
from components.errors import ConfigError, DataRejected, Interrupted, ServiceUnreachable, UsageError
from pipelines import api, asking, cancelling, following, holding, reaping, runs, status
from pipelines.api import Api
from pipelines.child import StepBroken
from pipelines.following import Following
from pipelines.resources import Resources
from pipelines.runs import Failure, Wishes
from pipelines.starting import Server
from pipelines.workers import overview, standing, waiting
from pipelines.workers.queue import FlowRun
from pipelines.workers.submission import Submission
from pipelines.workers.waiting import PlaceAtWork
from tests.faults.proxy import Proxy

SUBMITTED = Submission(run="20260101-000000-tiny-abcd", flow_run_id="f1")


class Prefect(BaseHTTPRequestHandler):
    """Takes what is written only with its present token; knows one flow run."""

    token: ClassVar[str] = "first"
    state: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        path = self.path.removeprefix("/api")
        if path.startswith("/csrf-token"):
            self.answer(200, {"token": self.token})
        elif path == "/flow_runs/f1":
            self.answer(200, {"id": "f1", "name": SUBMITTED.run, **self.state})
        else:
            self.answer(404, {})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(length))
        right = self.headers.get("Prefect-Csrf-Token") == self.token
        self.answer(200, asked) if right else self.answer(403, {"detail": "token"})

    def answer(self, code: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    Prefect.token, Prefect.state = "first", {"state_type": "SCHEDULED", "state_name": "Scheduled"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prefect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def known(home: Path, port: int) -> int:
    """The server is this home's Prefect."""
    owner = processes.this()
    own = Server(owner=owner, pid=os.getpid(), url=f"http://127.0.0.1:{port}")
    document = {"prefect": {**own.model_dump(mode="json")}}
    files.write_json(home / "servers.json", document)
    return port


def test_a_change_is_sent_with_a_token_and_again_with_a_fresh_one(port: int) -> None:
    server = Api(f"http://127.0.0.1:{port}")
    assert server.post("/x", {"a": 1}) == {"a": 1}
    Prefect.token = "second"
    assert server.post("/x", {"a": 2}) == {"a": 2}
    assert server.get("/nothing") is None


def test_a_frozen_server_costs_its_patience_and_no_more(port: int) -> None:
    with Proxy(port) as proxy:
        assert Api(proxy.url, patience_s=5).get("/flow_runs/f1")["id"] == "f1"
        proxy.be("frozen")
        with pytest.raises(ServiceUnreachable, match="does not answer"):
            Api(proxy.url, patience_s=0.3).get("/flow_runs/f1")


def place(name: str, memory_gb: float | None = None, **facts: Any) -> PlaceAtWork:
    return PlaceAtWork(place=name, memory_gb=memory_gb, free=not facts, **facts)


def a_step(state: str = "SCHEDULED", message: str = "", **wanted: Any) -> FlowRun:
    return FlowRun(
        id="1", name="finetune", kind="step", state=state, called="Scheduled", message=message,
        due=None, key="k", resources=Resources(**wanted),
    )  # fmt: skip


def test_what_waits_says_for_which_place_and_who_holds_it() -> None:
    worker = standing.Standing(owner=processes.this(), name="vm", wanted=standing.Wanted(slots=1))
    held = {"step": "search", "run": "r2", "pid": 1}
    slot, one = place("slot 0", **held), place("device 0", 8.0, **held)
    said = [
        waiting.reason(a_step(), worker, [slot]),
        waiting.reason(a_step(), worker, [place("slot 0")]),
        waiting.reason(a_step(gpus=1), worker, [slot, one]),
        waiting.reason(a_step(gpus=1, memory_gb=12), worker, [slot, one]),
        waiting.reason(a_step(gpus=2), worker, [one, place("device 1", 8.0)]),
        waiting.reason(a_step(), None, []),
        waiting.reason(a_step("PENDING", "vm"), worker, [slot]),
    ]
    assert said == [
        "a slot: search of r2 holds slot 0",
        "the worker's next look",
        "a device: search of r2 holds device 0",
        "a device of 12 GB: this machine has 0",
        "2 devices: search of r2 holds device 0",
        "a worker: athanor up",
        "its process, on vm",
    ]


class Told:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def step_started(self, name: str, reasons: tuple[str, ...]) -> None:
        self.said.append(f"{name} starts")

    def step_done(self, name: str, state: str, seconds: float) -> None:
        self.said.append(f"{name} {state}")

    def follow(self, journal: Path) -> Any:
        self.said.append(f"{journal.parent.name} is followed")
        return lambda: None

    def close(self) -> None:
        """Nothing to tidy."""


def begun() -> holding.Held:
    return holding.begin("tiny", {}, "d", ("configs/tiny.yaml", Wishes()), SUBMITTED.run)


def test_a_run_is_told_from_its_record_though_prefect_is_away(home: Path) -> None:
    told = Told()
    one = Following(SUBMITTED, told, 0)
    assert one.look() is None, "it has not begun"
    held = begun()
    held.step_done("validate", "k0", "cached", ("stored", 0.0))
    held.step_started("finetune", "k1", "it is new")
    assert one.look() is None
    held.step_done("finetune", "k1", "executed", ("it is new", 1.0))
    held.step_started("select", "k2", "it is new")
    held.end("completed", 0)
    assert (ended := one.look()) is not None
    assert ended.state == "completed"
    away = [text for text in told.said if "does not answer" in text]
    assert len(away) == 1, "once"
    steps = [text for text in told.said if text.split()[0] in ("validate", "finetune", "k1")]
    assert steps == ["validate cached", "finetune starts", "k1 is followed", "finetune executed"]


def test_a_run_that_never_began_ends_with_what_the_worker_said(
    known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASK_S", 0.0)
    one = Following(SUBMITTED, Told(), 0)
    assert one.look() is None, "it is queued"
    failed = {"message": "the config does not fit; bring both to one commit"}
    Prefect.state = {"state_type": "FAILED", "state_name": "Failed", "state": failed}
    with pytest.raises(ConfigError, match="the config does not fit") as refused:
        one.look()
    assert refused.value.remedy == "bring both to one commit"
    Prefect.state = {"state_type": "CANCELLED", "state_name": "Cancelled"}
    with pytest.raises(Interrupted, match="before it began"):
        Following(SUBMITTED, Told(), 0).look()


def test_the_error_of_a_run_is_raised_as_it_was_there(home: Path) -> None:
    held = begun()
    failure = Failure(kind="DataRejected", message="row 3", remedy="mend it")
    held.end("failed", 3, failure)
    error = following._error(held.record)
    assert (type(error), str(error)) == (DataRejected, "row 3; mend it")
    bug = held.record.changed(error=Failure(kind="StepBroken", message="Traceback"))
    assert isinstance(following._error(bug), StepBroken)
    stopped = held.record.changed(state="interrupted", error=None)
    assert isinstance(following._error(stopped), Interrupted)


def test_cancel_refuses_what_is_over_unknown_or_elsewhere(home: Path) -> None:
    with pytest.raises(UsageError, match="no run is called"):
        cancelling.cancel("20260101")
    held = begun()
    _, boot, pid, start = processes.this().split(" ")
    away = held.record.changed(owner=f"elsewhere {boot} {pid} {start}")
    runs.save(away)
    files.write_json(runs.marker(held.id), {"owner": away.last.owner})
    with pytest.raises(UsageError, match="works on elsewhere"):
        cancelling.cancel(held.id)
    held.end("completed", 0)
    with pytest.raises(UsageError, match="is not at work: completed"):
        cancelling.cancel(held.id)


def test_retry_goes_on_refuses_or_begins_anew(
    home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.config import load_run

    config = load_run(tiny / "configs/tiny.yaml").model_dump(mode="json")
    held = holding.begin("tiny", config, "d", ("configs/tiny.yaml", Wishes(force=("judge",))))
    with pytest.raises(UsageError, match="is running"):
        following.again(held.id)
    held.end("refused", 4)
    anew = following.again(held.id)
    assert (anew.before, anew.wishes.force) == (None, ("judge",))
    runs.save(held.record.changed(state="failed"))
    assert following.again(held.id).before is not None
    runs.save(held.record.changed(state="completed"))
    with pytest.raises(UsageError, match="nothing to do again"):
        following.again(held.id)


def test_the_status_says_when_prefect_does_not_answer_and_shows_the_rest(
    home: Path, known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = standing.Standing(owner=processes.this(), name="vm", wanted=standing.Wanted(slots=2))
    files.write_json(home / "worker" / "worker.json", worker.model_dump(mode="json"))
    with Proxy(known) as proxy:
        proxy.be("frozen")
        monkeypatch.setenv("PREFECT_API_URL", proxy.url)
        monkeypatch.setattr(overview, "PATIENCE_S", 0.3)
        found = overview.crew(home)
    assert "does not answer" in found.trouble
    assert [(one.name, one.state, one.slots) for one in found.workers] == [("vm", "up", 2)]
    assert [one.free for one in found.places] == [True, True]
    told = status.text(
        status.Status(
            servers=(), crew=found, runs=(),
            shipping=status.Shipping(points=0, runs=(), troubles=(), untold=0),
        )
    )  # fmt: skip
    assert "slot 1" in told
    assert "queue and schedules are not known" in told


def test_detach_wants_a_worker(home: Path, tiny: Path) -> None:
    from pipelines import running

    asked = running.asked(tiny / "configs/tiny.yaml", Wishes())
    with pytest.raises(UsageError, match="no worker is up"):
        following.execute(asked, "detach")


def test_a_run_of_a_worker_is_buried_by_its_record_like_any_other(home: Path) -> None:
    held = begun()
    gone = processes.this().rpartition(" ")[0] + " 1"
    runs.save(held.record.changed(owner=gone))
    files.write_json(runs.marker(held.id), {"owner": gone})
    assert reaping.records() == (held.id,)
    assert api.of(home) is None

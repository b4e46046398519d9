"""Runs on a worker as a user sees them: followed, left alone, cancelled, taken up again."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import places, runs
from pipelines.workers import process, standing
from tests.pipelines import small_project
from tests.pipelines.small_project import Said
from tests.workers.house import ENDLESS, PATIENCE_S, SHORT, House, all_held, until

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def at_home(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process looks up, it looks up in the house."""
    monkeypatch.setenv("ATHANOR_HOME", str(house.home))


def words(*assignments: str) -> list[str]:
    """Arguments that set values of the config."""
    return [word for one in (*SHORT, *assignments) for word in ("--set", one)]


def said(house: House, *arguments: str) -> Said:
    return small_project.athanor(house.project, house.home, arguments)


def trained(run: str) -> int:
    """Steps that the run's training has done, by its journal."""
    record = runs.load(run)
    key = next((s.key for s in record.last.steps if s.name == "finetune"), None) if record else None
    journal = Path(os.environ["ATHANOR_HOME"]) / "work" / str(key) / "journal.jsonl"
    lines = journal.read_text().splitlines() if key and journal.exists() else []
    entries = [json.loads(line) for line in lines]
    return max((int(e["done"]) for e in entries if e["kind"] == "progress"), default=0)


def checkpoints(run: str) -> list[str]:
    record = runs.load(run)
    assert record is not None
    key = next(s.key for s in record.last.steps if s.name == "finetune")
    folder = Path(os.environ["ATHANOR_HOME"]) / "work" / str(key) / "checkpoints"
    return sorted(path.name for path in folder.glob("0*.safetensors"))


def test_a_followed_run_tells_its_steps_and_gives_the_receipt(house: House) -> None:
    """As a run in this process does; once more it is found complete, and nothing is submitted."""
    first = said(house, "run", "configs/tiny.yaml", *words("finetune.seed=31"), "--json")
    assert first.code == 0, first.err
    assert "is submitted to the worker" in first.err
    assert "finetune: done in" in first.err
    record = runs.find(first.json["run"]["id"])
    assert record.state == "completed"
    states = {step["name"]: step["state"] for step in first.json["steps"]}
    assert states == {step.name: step.state for step in record.last.steps}
    assert states["finetune"] == "executed"
    logs = said(house, "logs", record.id).out
    assert f"worker {os.uname().nodename}  devices cpu" in logs
    page = house.asks(
        "from pipelines import api\n"
        "server = api.of(project.home())\n"
        "asked = {'logs': {'flow_run_id': {'any_': [flow]}}, 'sort': 'TIMESTAMP_ASC'}\n"
        "print(json.dumps([one['message'] for one in server.post('/logs/filter', asked)]))",
        flow=record.last.prefect_run_id,
    )
    assert next(line for line in page if line.startswith("finetune")).startswith("finetune ...")
    assert any(line.startswith("finetune: done in") for line in page)
    again = said(house, "run", "configs/tiny.yaml", *words("finetune.seed=31"), "--json")
    assert again.json["run"]["id"] == record.id
    assert "submitted" not in again.err
    assert {step["state"] for step in again.json["steps"]} == {"cached"}


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, house: House, arguments: list[str]) -> None:
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            os.chdir(house.project)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background is deaf to it
            command = [sys.executable, "-m", "pipelines.cli", *arguments]
            os.execvpe(sys.executable, command, small_project.environment(house.home))
        self.text = ""

    def until(self, text: str) -> None:
        until(lambda: text in self._read(), f"{text!r} in {self.text[-2000:]!r}")

    def found(self, pattern: str) -> str:
        """The first thing of this shape that was told."""
        return until(lambda: re.search(pattern, self._read()), pattern)[0]

    def press(self, keys: bytes) -> None:
        os.write(self._handle, keys)

    def code(self) -> int:
        """Its exit code."""

        def ended() -> tuple[int] | None:
            self._read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            return (os.waitstatus_to_exitcode(status),) if pid else None

        return until(ended, "the command ends")[0]

    def _read(self) -> str:
        while select.select([self._handle], [], [], 0)[0]:
            try:
                self.text += os.read(self._handle, 65536).decode(errors="replace")
            except OSError:
                break
        return self.text


def test_ctrl_c_asks_detach_leaves_it_alone_cancel_stops_and_retry_goes_on(house: House) -> None:
    arguments = ["run", "configs/tiny.yaml", *words("finetune.seed=32", *ENDLESS)]
    terminal = Terminal(house, arguments)
    terminal.until("is submitted to the worker")
    run = terminal.found(r"\d{8}-\d{6}-tiny-[0-9a-f]{4}")
    until(lambda: trained(run) > 0, "the training works")
    terminal.press(b"\x03")
    terminal.until("detach, and let the run go on, or cancel it?")
    terminal.press(b"d\n")
    assert terminal.code() == 0
    assert f"athanor cancel {run}" in terminal.text
    before = trained(run)
    until(lambda: trained(run) > before, "it goes on by itself")

    status = said(house, "status", "--json").json
    assert [(one["run"], one["step"]) for one in status["runs"]] == [(run, "finetune")]
    held = [one for one in status["crew"]["places"] if not one["free"]]
    assert [(one["step"], one["run"]) for one in held] == [("finetune", run)]
    assert status["crew"]["workers"][0]["state"] == "up"

    cancelled = said(house, "cancel", run, "--json")
    assert cancelled.code == 0, cancelled.err
    assert cancelled.json["state"] == "interrupted"
    until(lambda: all(one.dead for one in process.at_work()), "its processes are gone")
    assert checkpoints(run), "it goes on from here"
    refused = said(house, "cancel", run)
    assert (refused.code, "is not at work: interrupted" in refused.err) == (2, True)

    begun = trained(run)
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "retry", run],
        cwd=house.project,
        env=small_project.environment(house.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as again:
        until(lambda: trained(run) > begun, "it goes on from its checkpoint")
        again.send_signal(signal.SIGTERM)
        told, _ = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 143, told
    assert f"athanor resume {run}" in told
    record = runs.load(run)
    assert record is not None
    assert [one.state for one in record.attempts] == ["interrupted", "interrupted"]


def test_what_waits_says_for_what_and_begins_when_it_can(house: House) -> None:
    worker = standing.running(house.home)
    assert worker is not None
    arguments = ("run", "configs/tiny.yaml", *words("finetune.seed=33"), "--detach", "--json")
    with all_held(places.slots(worker.wanted.slots)):
        run = said(house, *arguments).json["submitted"]["id"]
        [waits] = until(lambda: house.queued("finetune"), "the step is queued")
        assert waits["run"] == run
        assert waits["waits_for"].startswith("a slot: slot 0 is held by")
    record = house.ended(run)  # promoted or refused: that is the gate's
    follow = said(house, "logs", run, "-f")
    assert follow.out.rstrip().endswith(f"{record.state}, exit code {record.last.exit_code}")


def test_a_run_in_the_queue_is_shown_cancelled_and_asked_for_again(house: House) -> None:
    worker = standing.running(house.home)
    assert worker is not None
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        arguments = ("run", "configs/tiny.yaml", *words("finetune.seed=34"), "--detach", "--json")
        run = said(house, *arguments).json["submitted"]["id"]
        shown = said(house, "logs", run, "--json").json
        assert (shown["state"], len(shown["lines"])) == ("queued", 1)
        assert shown["lines"][0]["text"].startswith("waits for")
        cancelled = said(house, "cancel", run, "--json")
        assert cancelled.json["state"] == "queued"
        assert runs.load(run) is None
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    again = said(house, "retry", run, "--detach", "--json")
    assert again.code == 0, again.err
    assert again.json["submitted"]["id"] == run
    until(lambda: runs.load(run), "it begins under the id that it was promised")
    assert said(house, "cancel", run, "--json").json["state"] == "interrupted"

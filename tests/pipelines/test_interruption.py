"""One run that is killed, interrupted and terminated before it ends: no work lost, none doubled.

The story is told in order: SIGKILL of all its processes in a search trial, Ctrl-C and SIGTERM in
a training that was forced, and the same run to its end, each time by `athanor resume`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from components import files
from pipelines import embedded
from tests.faults import invariants
from tests.pipelines import small_project
from tests.pipelines.small_project import Said

pytestmark = pytest.mark.slow

RUN = (
    "run", "configs/tiny.yaml", "--force", "finetune", "--set", "pretrain=~",
    "--set", "compress=[[]]", "--set", "baselines=[majority]",
    "--set", "search.trials=3", "--set", "search.epochs=30",
    "--set", "finetune.budget={epochs: 300, batch_size: 16, checkpoint_steps: 50}",
)  # fmt: skip
STEPS = 3000
PATIENCE_S = 500.0
UNFINISHED = {
    "flow runs": ("prefect", "SELECT count(*) FROM flow_run WHERE state_type IN {}"),
    "task runs": ("prefect", "SELECT count(*) FROM task_run WHERE state_type IN {}"),
    "tracked runs": ("mlflow", "SELECT count(*) FROM runs WHERE status IN {}"),
    "trials": ("optuna", "SELECT count(*) FROM trials WHERE state IN {}"),
}
STATES = "('PENDING', 'RUNNING', 'SCHEDULED', 'CANCELLING', 'WAITING')"


class Home(NamedTuple):
    """The small project and one home of it."""

    project: Path
    folder: Path
    source: Path

    def say(self, *words: str) -> Said:
        """A command, as a user types it."""
        return small_project.athanor(self.project, self.folder, words, self.source, timeout_s=1200)

    def ask(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Rows of a server's database."""
        place = self.folder / database / f"{database}.db"
        return invariants.ask(place, query)

    def unfinished(self) -> dict[str, int]:
        """What each server shows as still at work."""
        return {
            name: self.ask(database, query.format(STATES))[0][0]
            for name, (database, query) in UNFINISHED.items()
        }

    def checkpoints(self) -> list[int]:
        """Steps of the checkpoints that lie in the home."""
        return sorted(int(path.stem) for path in self.folder.glob("work/*/checkpoints/*.json"))

    def journal(self, said: str) -> list[dict[str, Any]]:
        """The lines of the one step whose journal holds a word."""
        for place in self.folder.glob("work/*/journal.jsonl"):
            if said in (text := place.read_text()):
                return [json.loads(line) for line in text.splitlines()]
        return []

    def stopped(self, words: tuple[str, ...], ready: Callable[[], bool], number: int) -> Said:
        """A command that gets a signal once it is ready for it; SIGKILL goes to its group."""
        output = self.project / "output.txt"
        with output.open("w") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", *words],
                cwd=self.project,
                env=small_project.environment(self.folder, self.source),
                stderr=sink,
                stdout=subprocess.DEVNULL,
                preexec_fn=_as_in_a_terminal,
            )
            deadline = time.monotonic() + PATIENCE_S
            while not ready():
                assert process.poll() is None, output.read_text()
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.02)
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            code = process.wait(PATIENCE_S)
        return Said(code, "", output.read_text())

    def alone(self) -> bool:
        """Whether the embedded server ended, as it does after its last run."""
        deadline = time.monotonic() + 30
        while embedded.found(self.folder) and time.monotonic() < deadline:
            time.sleep(0.1)
        return embedded.found(self.folder) is None


def _as_in_a_terminal() -> None:
    """A shell starts its background jobs deaf to SIGINT, and so would be all that they start."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_project.write(tmp_path_factory.mktemp("interrupted") / "tiny")


@pytest.fixture(scope="module")
def home(project: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(project, tmp_path_factory.mktemp("disturbed"), source)


class Killed(NamedTuple):
    """What was seen before and after a kill."""

    run: dict[str, Any]
    """As listed while it ran."""
    refused: Said
    """A resume while it ran."""
    left: dict[str, int]
    listed: dict[str, Any]
    """As listed after the kill."""
    log: Said


@pytest.fixture(scope="module")
def killed(home: Home) -> Killed:
    """SIGKILL in the second trial of the search."""
    seen: dict[str, Any] = {}

    def in_the_second_trial() -> bool:
        if not seen and home.say("runs", "--json").json["runs"]:
            seen["run"] = home.say("runs", "--json").json["runs"][0]
            seen["refused"] = home.say("resume", "latest")
        return any("trial 2: val" in line.get("text", "") for line in home.journal("trial 2: val"))

    said = home.stopped(RUN, in_the_second_trial, signal.SIGKILL)
    assert said.code == -signal.SIGKILL
    assert home.alone(), "the embedded server outlives its run"
    left = home.unfinished()
    listed = home.say("runs", "--json").json["runs"][0]
    return Killed(seen["run"], seen["refused"], left, listed, home.say("logs", "latest"))


@pytest.fixture(scope="module")
def interrupted(home: Home, killed: Killed) -> list[tuple[int, Said, int, dict[str, int]]]:
    """Ctrl-C, then SIGTERM, each after a new checkpoint of the forced training."""
    seen = []
    for number in (signal.SIGINT, signal.SIGTERM):
        before = home.checkpoints()[-1:]

        def further(before: list[int] = before) -> bool:
            return home.checkpoints()[-1:] > before

        said = home.stopped(("resume", killed.run["id"]), further, number)
        assert home.alone(), "the embedded server outlives its run"
        seen.append((number, said, home.checkpoints()[-1], home.unfinished()))
    return seen


@pytest.fixture(scope="module")
def finished(home: Home, killed: Killed, interrupted: list[Any]) -> dict[str, Any]:
    """The same run to its end, after its file was edited."""
    file = home.project / "configs/tiny.yaml"
    text = file.read_text()
    [folder] = {path.parents[1] for path in home.folder.glob("work/*/checkpoints/*.json")}
    journal = folder / "journal.jsonl"
    lines = len(journal.read_bytes().splitlines())
    file.write_text(text.replace("lr: 1e-2", "lr: 2e-2"))
    said = home.say("resume", killed.run["id"][:15], "--json")
    file.write_text(text)
    assert said.code == 0, said.err
    more = [json.loads(line) for line in journal.read_bytes().splitlines()[lines:]]
    return {"said": said, "training": more}


@pytest.fixture(scope="module")
def undisturbed(home: Home, finished: dict[str, Any], tmp_path_factory: Any) -> Home:
    """The same run in another home, where nothing happens to it."""
    other = home._replace(folder=tmp_path_factory.mktemp("undisturbed"))
    assert other.say(*RUN).code == 0
    return other


# The kill.


def test_a_run_is_listed_while_it_runs_and_is_not_resumed(killed: Killed) -> None:
    assert killed.run["state"] == "running"
    assert killed.refused.code == 2
    assert f"run {killed.run['id']} is running on {killed.run['host']} as pro" in killed.refused.err


def test_the_kill_left_something_at_work_in_every_server(killed: Killed) -> None:
    assert all(killed.left.values()), killed.left


def test_a_dead_run_is_listed_as_crashed_where_it_stopped(killed: Killed) -> None:
    assert (killed.listed["id"], killed.listed["state"]) == (killed.run["id"], "crashed")
    assert killed.listed["step"] == "search"
    assert 1 < killed.listed["done"] < 2
    assert killed.listed["total"] == 3


def test_the_log_tells_it_to_the_end(killed: Killed) -> None:
    assert killed.log.code == 0
    first, *middle, last = killed.log.out.splitlines()
    assert " run " in first
    assert " begun on " in first
    assert last.endswith("crashed")
    said = "\n".join(middle)
    assert "prepare                  done in" in said
    assert "search                   trial 1 complete" in said
    assert "search                   crashed" in said


# The interruptions.


def test_an_interrupted_run_ends_in_order_and_says_how_to_go_on(
    home: Home, killed: Killed, interrupted: list[Any]
) -> None:
    run = killed.run["id"]
    for number, said, checkpoint, left in interrupted:
        assert said.code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], said.err
        assert "Traceback" not in said.err
        assert f"-> athanor resume {run}\n" in said.err
        assert 0 < checkpoint < STEPS, "the signal fell outside the training"
        assert not any(left.values()), left
    states = home.ask("prefect", "SELECT state_type FROM flow_run")
    assert states == [("CRASHED",)] * 3
    tasks = home.ask("prefect", "SELECT state_type FROM task_run WHERE name = 'finetune'")
    assert {state for (state,) in tasks} == {"CRASHED"}
    runs = home.ask("mlflow", "SELECT name, status FROM runs ORDER BY start_time")
    for name, wanted in ((run, ["KILLED"] * 3), ("finetune", ["KILLED"] * 2)):
        assert [status for its, status in runs if its == name] == wanted
    assert [status for its, status in runs if its == "search"] == ["KILLED", "FINISHED"]


def test_what_was_forced_is_forced_once(
    interrupted: list[Any], finished: dict[str, Any], killed: Killed
) -> None:
    """Each resume goes on from the checkpoint of the one before."""
    checkpoints = [checkpoint for _, _, checkpoint, _ in interrupted]
    assert checkpoints == sorted(set(checkpoints))
    first = next(line["done"] for line in finished["training"] if line["kind"] == "progress")
    assert first > checkpoints[-1], "it began again instead of going on"


# The end.


def test_the_run_goes_on_with_its_own_config(finished: dict[str, Any]) -> None:
    said = finished["said"]
    assert "configs/tiny.yaml differs by now, the run's own counts: finetune" in said.err
    states = {step["name"]: step["state"] for step in said.json["steps"]}
    assert states["prepare"] == states["search"] == "cached"
    assert states["finetune"] == "executed"


def test_nothing_is_left_at_work(home: Home, finished: dict[str, Any]) -> None:
    assert set(home.unfinished().values()) == {0}
    assert list((home.folder / "runs/open").iterdir()) == []
    assert list((home.folder / "runs/left").iterdir()) == []


def test_a_finished_run_is_not_resumed(
    home: Home, killed: Killed, finished: dict[str, Any]
) -> None:
    [listed] = home.say("runs", "--json").json["runs"]
    assert (listed["id"], listed["state"], listed["attempts"]) == (killed.run["id"], "completed", 4)
    assert listed["mlflow_run_id"] == finished["said"].json["run"]["mlflow_run_id"]
    said = home.say("resume", "latest")
    assert said.code == 2
    assert "has finished: completed" in said.err


def test_a_run_that_died_after_its_last_step_is_found_complete(
    home: Home, killed: Killed, finished: dict[str, Any]
) -> None:
    place = home.folder / f"runs/{killed.run['id']}.json"
    whole = place.read_bytes()
    record = files.read_sealed(place)
    record["attempts"][-1].update({"state": "crashed", "exit_code": None})
    files.write_sealed(place, record)
    said = home.say("resume", "latest", "--json")
    assert said.code == 0, said.err
    assert said.json["run"]["id"] == killed.run["id"]
    assert {step["state"] for step in said.json["steps"]} == {"cached"}
    [listed] = home.say("runs", "--json").json["runs"]
    assert (listed["state"], listed["attempts"]) == ("completed", 5)
    place.write_bytes(whole)


def test_the_result_is_the_one_of_an_undisturbed_run(
    home: Home, finished: dict[str, Any], undisturbed: Home
) -> None:
    assert results(home) == results(undisturbed)
    failed = [
        one.ask("optuna", "SELECT count(*) FROM trials WHERE state = 'FAIL'")[0][0]
        for one in (home, undisturbed)
    ]
    assert failed == [1, 0], "no trial was cut off"


def results(home: Home) -> tuple[str, list[Any]]:
    """sha256 of the fine-tuned weights, and the trials of the search."""
    plan = home.say("plan", *RUN[1:2], *RUN[4:], "--json").json
    records = {}
    for step in plan["steps"]:
        if step["name"] in ("finetune", "search"):
            stored = json.loads((home.folder / "cache" / step["key"]).read_bytes())
            records[step["name"]] = json.loads(stored["result"])["data"]
    trials = [[trial["params"], trial["value"]] for trial in records["search"]["trials"]]
    return records["finetune"]["files"]["weights.safetensors"], trials

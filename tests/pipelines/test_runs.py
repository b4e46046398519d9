"""Records of runs: who works on them, what became of them, and the dead, never shown alive."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from components import processes
from components.errors import ConfigError, GateRefused, UsageError
from components.workspace import Workspace
from pipelines import holding, listing, logs, reaping, runs
from pipelines.config import RunConfig, load_run, run_files
from pipelines.holding import Held
from pipelines.runs import Wishes
from tests.pipelines.small_project import Said

ROOT = Path(__file__).resolve().parents[2]
DEAD = processes.this().rpartition(" ")[0] + " 1"
"""This process's number, of another start."""
ELSEWHERE = "elsewhere " + processes.this().partition(" ")[2]


def begun(name: str = "tiny", digest: str = "d") -> Held:
    """A run of this process; its heart's thread ends with the test's process."""
    return holding.begin(name, {"name": name}, digest, ("configs/tiny.yaml", Wishes()))


def owned_by(held: Held, owner: str) -> str:
    """The run as if another process had begun it."""
    runs.save(held.record.changed(owner=owner))
    runs.marker(held.id).write_text(f'{{"owner": "{owner}"}}')
    return held.id


def state(run: str) -> str:
    record = runs.load(run)
    assert record
    return record.state


def silent(run: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(runs.marker(run), (then, then))


# The dead.


def test_the_next_command_of_any_kind_marks_a_dead_run(tiny: Path, said: Callable) -> None:
    living, dead = begun().id, owned_by(begun(), DEAD)
    assert (state(living), state(dead)) == ("running", "running")
    assert said("kinds").code == 0
    assert (state(living), state(dead)) == ("running", "crashed")
    assert reaping.left() == (dead,)
    assert [path.name for path in (runs.folder() / "open").iterdir()] == [living]


def test_a_step_at_work_crashed_with_its_run(home: Path) -> None:
    held = begun()
    held.step_done("prepare", "k0", "cached", ("stored", 0.0))
    here = working(held, home)
    owned_by(held, DEAD)
    time.sleep(0.05)
    here.progress(1, 2)
    written = here.journal.stat().st_mtime
    assert reaping.records() == (held.id,)
    assert reaping.records() == ()
    record = runs.find(held.id)
    assert [step.state for step in record.last.steps] == ["cached", "crashed"]
    assert record.last.ended
    seen = datetime.fromisoformat(record.last.ended).timestamp()
    assert seen == pytest.approx(written, abs=2e-3), "its last sign of life was in the journal"


@pytest.mark.parametrize(
    ("owner", "silence_s", "wanted"),
    [
        (ELSEWHERE, 100, "running"),
        (ELSEWHERE, 200, "crashed"),
        (processes.this(), 10_000, "running"),  # a machine that slept
    ],
    ids=["another host that gave a sign", "another host that did not", "here, alive"],
)
def test_on_another_host_the_heartbeat_counts(owner: str, silence_s: float, wanted: str) -> None:
    run = owned_by(begun(), owner)
    silent(run, silence_s)
    reaping.records()
    assert state(run) == wanted


def test_a_living_run_gives_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "HEARTBEAT_S", 0.05)
    held = begun()
    silent(held.id, 1000)
    deadline = time.monotonic() + 5
    while time.time() - runs.marker(held.id).stat().st_mtime > 500:
        assert time.monotonic() < deadline, "no heartbeat came"
        time.sleep(0.01)
    held.end("completed", 0)
    assert not runs.marker(held.id).exists()


def test_a_run_that_ended_but_kept_its_mark_has_not_crashed() -> None:
    held = begun()
    mark = runs.marker(held.id).read_bytes().replace(processes.this().encode(), DEAD.encode())
    held.end("completed", 0)
    runs.marker(held.id).write_bytes(mark)
    assert reaping.records() == ()
    assert state(held.id) == "completed"
    assert not runs.marker(held.id).exists()


def test_looking_for_the_dead_imports_nothing_heavy_and_makes_no_home(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pipelines import reaping; begun = time.perf_counter();"
        "reaping.records(); print(time.perf_counter() - begun);"
        "heavy = {'prefect', 'mlflow', 'optuna', 'pydantic', 'torch'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    absent = tmp_path / "absent"
    environment = {**os.environ, "ATHANOR_HOME": str(absent), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not absent.exists()


# How attempts end.


@pytest.mark.parametrize(
    ("stop", "wanted", "code"),
    [
        (KeyboardInterrupt(), "interrupted", 130),
        (SystemExit(143), "interrupted", 143),
        (ConfigError("no", "yes"), "failed", 2),
        (GateRefused("no"), "failed", 4),
        (ValueError("our bug"), "failed", 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_the_record_says_how_an_attempt_ended(stop: BaseException, wanted: str, code: int) -> None:
    held = begun()
    with pytest.raises(type(stop)), holding.at_work(held):
        raise stop
    record = runs.find(held.id)
    assert (record.state, record.last.exit_code) == (wanted, code)
    if wanted == "interrupted":
        assert stop.__notes__ == [f"athanor resume {held.id}"]
        assert record.last.error is None
    else:
        assert record.last.error
        assert record.last.error.kind == type(stop).__name__


def test_a_full_disk_hides_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    held = begun()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(holding, "save", full)
    with pytest.raises(ConfigError, match="the first"), holding.at_work(held):
        raise ConfigError("the first")


def test_one_more_attempt_keeps_the_ones_before() -> None:
    first = begun()
    first.set_aside("key")
    first.end("interrupted", 130)
    second = holding.again(first.id)
    assert [one.state for one in second.record.attempts] == ["interrupted", "running"]
    assert second.record.set_aside == ("key",)
    with pytest.raises(UsageError, match=rf"is running on .* as process {os.getpid()}"):
        holding.again(first.id)
    second.end("refused", 4)
    with pytest.raises(UsageError, match="has finished: refused"):
        holding.again(first.id)


@pytest.mark.parametrize("file", run_files(ROOT / "configs"), ids=lambda p: p.stem)
def test_a_config_comes_back_from_its_record_as_it_was(file: Path) -> None:
    config = load_run(file)
    held = holding.begin(config.name, config.model_dump(mode="json"), "d", (str(file), Wishes()))
    record = runs.load(held.id)
    assert record
    assert RunConfig.model_validate(record.config).digest == config.digest


# Finding.


def test_a_run_is_found_by_id_beginning_and_as_latest() -> None:
    held = begun()
    for wanted in (held.id, held.id[:-2], "latest"):
        assert runs.find(wanted).id == held.id


def test_an_unknown_run_gets_near_names(tiny: Path, said: Callable[..., Said]) -> None:
    assert "athanor runs" in said("logs", "latest").err
    held = begun()
    other = begun("other")
    for command in ("logs", "resume"):
        answer = said(command, f"x{held.id[:-1]}")
        assert answer.code == 2
        assert f"did you mean {held.id}" in answer.err
    assert "2 runs begin with '2'" in said("logs", "2").err
    assert runs.find(other.id[:-1]).id == other.id
    assert "no run is called ''" in said("logs", "").err


def test_the_last_run_that_executed_something_of_this_very_config_else_of_its_name() -> None:
    def ended(digest: str, step: str, name: str = "tiny") -> str:
        held = begun(name, digest)
        held.step_done("prepare", "k", step, ("", 1.0))
        held.end("completed", 0)
        time.sleep(1.1)  # an id's time is in seconds
        return held.id

    old, new = ended("a", "executed"), ended("b", "executed")
    ended("a", "cached")
    ended("a", "executed", "tiny-two")
    for digest, wanted in (("a", old), ("b", new), ("c", new)):
        found = runs.executed_last("tiny", digest)
        assert found
        assert found.id == wanted
    assert runs.executed_last("none", "a") is None


# Listing and logs.


def working(held: Held, home: Path) -> Workspace:
    held.step_started("finetune", "k1", "it never ran here")
    return Workspace(home / "work/k1")


def test_a_running_step_is_listed_with_how_far_it_is(
    tiny: Path, said: Callable[..., Said], home: Path
) -> None:
    Workspace(home / "work/k1").progress(9, 40)  # of an earlier run
    held = begun()
    here = working(held, home)
    assert listing.row(held.record).done is None
    here.progress(3, 40)
    here.progress(12, 40, "epoch 2")
    here.metrics({"train/loss": 0.5}, 12)
    [row] = said("runs", "--json").json["runs"]
    assert (row["state"], row["step"], row["done"], row["total"]) == ("running", "finetune", 12, 40)
    assert "finetune 12/40" in said("runs").out
    assert " on " not in said("runs").out
    owned_by(held, ELSEWHERE)
    assert said("runs").out.rstrip().endswith("on elsewhere")


@pytest.mark.parametrize("how", ["another word", "half of it"])
def test_a_damaged_record_is_listed_by_its_id_and_read_by_nobody(
    tiny: Path, said: Callable[..., Said], home: Path, how: str
) -> None:
    damaged, whole = begun("tiny"), begun("other")
    for held in (damaged, whole):
        held.end("completed", exit_code=0)
    path = home / f"runs/{damaged.id}.json"
    content = path.read_bytes()
    other = content.replace(b'"completed"', b'"refused"')
    path.write_bytes(other if how == "another word" else content[: len(content) // 2])
    rows = {row["id"]: row for row in said("runs", "--json").json["runs"]}
    assert rows[whole.id]["state"] == "completed"
    assert (rows[damaged.id]["state"], rows[damaged.id]["attempts"]) == ("damaged", 0)
    assert re.sub("[-:T]", "", rows[damaged.id]["begun"])[:14] == damaged.id[:15].replace("-", "")
    told = f"the record of run {damaged.id} is damaged ({path})"
    assert told in said("runs").out
    (home / "runs/20269999-999999-tiny-abcd.json").write_text("no day has this name")
    assert said("runs", "-n", "1", "--json").json["runs"][0]["state"] == "damaged"
    for command in ("logs", "resume"):
        refused = said(command, damaged.id)
        assert refused.code == 6
        assert refused.err.startswith(f"athanor: {told}")
        assert refused.err.rstrip().endswith(f"rm {path}")


def test_the_newest_runs_come_first_and_as_many_as_wanted(
    tiny: Path, said: Callable[..., Said]
) -> None:
    assert "nothing ran here yet" in said("runs").out
    first = begun().id
    time.sleep(1.1)
    second = begun().id
    assert [row["id"] for row in said("runs", "--json").json["runs"]] == [second, first]
    assert [row["id"] for row in said("runs", "--json", "-n", "1").json["runs"]] == [second]
    assert said("runs", "-n", "0").code == 2


def test_logs_tell_what_the_run_and_the_servers_said_meanwhile(home: Path) -> None:
    (home / "logs").mkdir()
    log = home / "logs/prefect.log"
    log.write_text("before\n")
    held = begun()
    here = working(held, home)
    here.metrics({"train/loss": 0.25}, 7)
    here.trial(0, state="complete", value=0.5, params={"lr": 0.1})
    with log.open("a") as file:
        file.write("database is locked\n")
    held.step_done("finetune", "k1", "executed", ("it never ran here", 1.5))
    held.end("completed", 0)
    with log.open("a") as file:
        file.write("after\n")
    lines = logs.Story(held.id).news()
    told = [(line.source, line.text) for line in lines]
    assert told[0][0] == "run"
    assert ("finetune", "started  (it never ran here)") in told
    assert ("finetune", "step 7: train/loss 0.25") in told
    assert ("finetune", "trial 1 complete: 0.5  (lr 0.1)") in told
    assert ("finetune", "done in 1.5 s") in told
    assert ("run", "completed, exit code 0") in told
    assert [text for source, text in told if source == "prefect"] == ["database is locked"]


def test_following_ends_with_the_run_and_tells_each_line_once(home: Path) -> None:
    held = begun()
    here = working(held, home)
    here.progress(1, 2)

    def work() -> None:
        time.sleep(0.7)
        here.progress(2, 2)
        held.end("completed", 0)

    worker = threading.Thread(target=work)
    worker.start()
    story = logs.Story(held.id)
    told = [logs.text(line) for part in logs.parts(story, follow=True) for line in part]
    worker.join()
    assert sum("1 of 2" in line for line in told) == 1
    assert sum("2 of 2" in line for line in told) == 1
    assert told[-1].endswith("completed, exit code 0")
    assert len(set(told)) == len(told)

"""Ctrl-C and SIGTERM in the middle of a real training: an orderly end, and no lost work."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import embedded
from tests.pipelines import small_project

pytestmark = pytest.mark.slow

RUN = (
    "run", "configs/tiny.yaml", "--set", "pretrain=~", "--set", "search=~",
    "--set", "compress=[[]]", "--set", "baselines=[majority]",
    "--set", "finetune.budget={epochs: 300, batch_size: 16, checkpoint_steps: 100}",
)  # fmt: skip
STEPS = 3000
PATIENCE_S = 240.0


def ask(home: Path, database: str, query: str) -> list[tuple[Any, ...]]:
    place = home / database / f"{database}.db"
    with contextlib.closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def checkpoints(home: Path) -> list[int]:
    """Steps of the checkpoints that lie in the home."""
    return sorted(int(path.stem) for path in home.glob("work/*/checkpoints/*.json"))


def _as_in_a_terminal() -> None:
    """A shell starts its background jobs deaf to SIGINT, and so would be all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(project: Path, home: Path, source: Path, number: int) -> tuple[int, str]:
    """Exit code and last words of a run that gets a signal once it made a new checkpoint."""
    before = checkpoints(home)
    output = project / "output.txt"
    with output.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *RUN],
            cwd=project,
            env=small_project.environment(home, source),
            stderr=sink,
            stdout=subprocess.DEVNULL,
            preexec_fn=_as_in_a_terminal,
        )
        deadline = time.monotonic() + PATIENCE_S
        while checkpoints(home) <= before:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.02)
        process.send_signal(number)
        code = process.wait(PATIENCE_S)
    return code, output.read_text()


def weights(project: Path, home: Path, source: Path) -> str:
    """sha256 of the fine-tuned weights."""
    said = small_project.athanor(project, home, ("plan", *RUN[1:], "--json"), source)
    [key] = [step["key"] for step in said.json["steps"] if step["name"] == "finetune"]
    result = json.loads(json.loads((home / "cache" / key).read_bytes())["result"])
    return result["data"]["files"]["weights.safetensors"]


def test_an_interrupted_run_goes_on_and_ends_at_the_same_weights(
    source: Path, tmp_path: Path
) -> None:
    project = small_project.write(tmp_path / "tiny")
    home = tmp_path / "disturbed"
    for number, code, kills in ((signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)):
        ended, said = interrupted(project, home, source, number)
        assert ended == code, said
        assert "Traceback" not in said
        assert "-> athanor run configs/tiny.yaml --set 'pretrain=~'" in said
        assert 0 < checkpoints(home)[-1] < STEPS, "the signal fell outside the training"
        states = [state for (state,) in ask(home, "prefect", "SELECT state_type FROM flow_run")]
        assert states == ["CRASHED"] * kills
        tasks = ask(home, "prefect", "SELECT state_type FROM task_run WHERE name = 'finetune'")
        assert {state for (state,) in tasks} == {"CRASHED"}
        runs = ask(home, "mlflow", "SELECT name, status FROM runs")
        assert [status for name, status in runs if name == "finetune"] == ["KILLED"] * kills
        parents = [status for name, status in runs if "-tiny-" in name]
        assert parents == ["KILLED"] * kills
        deadline = time.monotonic() + 30
        while embedded.found(home) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert embedded.found(home) is None, "the embedded server outlives its run"

    last = checkpoints(home)[-1]
    [folder] = {path.parents[1] for path in home.glob("work/*/checkpoints/*.json")}
    journal = folder / "journal.jsonl"
    lines = len(journal.read_bytes().splitlines())
    resumed = small_project.athanor(project, home, (*RUN, "--json"), source)
    assert resumed.code == 0, resumed.err
    states = {step["name"]: step["state"] for step in resumed.json["steps"]}
    assert states["prepare"] == "cached"
    assert states["finetune"] == "executed"
    more = [json.loads(line) for line in journal.read_bytes().splitlines()[lines:]]
    first = next(line["done"] for line in more if line["kind"] == "progress")
    assert first > last, "it began again instead of going on"

    undisturbed = tmp_path / "undisturbed"
    whole = small_project.athanor(project, undisturbed, (*RUN, "--json"), source)
    assert whole.code == 0, whole.err
    assert weights(project, home, source) == weights(project, undisturbed, source)

"""Several workers search one study, and are killed: no trial is lost, none is one too many."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from components import workspace
from components.artifacts import Prepared, SearchResult
from components.spec import DataSpec
from components.steps import search as step
from components.trials import SearchConfig
from tests.search import stub
from tests.search.test_search import BASE, SPACE

ROOT = Path(__file__).resolve().parents[2]
DATA = Prepared(
    sources=(),
    spec=DataSpec(modality="image", inputs=(), labels=("a", "b")),
    files={},
    rows={"train": 1, "val": 1},
)
CONFIG = SearchConfig(trials=9, space=SPACE, pruning=None)


class Workers:
    """Processes that search side by side; a dead one's place is taken by a new one."""

    def __init__(
        self, folder: Path, number: int, *without: str, config: SearchConfig = CONFIG
    ) -> None:
        self.folder, self.without, self.config = folder, without, config
        self.processes = {str(place): self._start(str(place)) for place in range(number)}

    def _start(self, place: str) -> subprocess.Popen:
        records = {"data": DATA, "base": BASE, "config": self.config}
        given = {name: record.model_dump(mode="json") for name, record in records.items()}
        words = ["work", str(self.folder / "workers" / place), json.dumps(given), *self.without]
        return subprocess.Popen([sys.executable, "-m", "tests.search.stub", *words], cwd=ROOT)

    def kill(self, chance: random.Random) -> None:
        """Kill one at work at a random moment; a new one takes its place."""
        before = len(steps(self.folder))
        await_(lambda: len(steps(self.folder)) >= before + chance.randrange(1, 30))
        training = {pid for *_, pid in steps(self.folder)[before:]}
        at_work = [
            place
            for place, each in self.processes.items()
            if each.poll() is None and each.pid in training
        ]
        if at_work:
            place = chance.choice(at_work)
            self.processes[place].kill()
            self.processes[place].wait()
            self.processes[place] = self._start(place)

    def join(self) -> list[int]:
        """Exit codes, when all have ended."""
        return [each.wait(timeout=120) for each in self.processes.values()]


def await_(holds: Any) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def steps(folder: Path) -> list[tuple[str, int, float, int]]:
    """Steps that were taken: folder of checkpoints, step, learning rate, process."""
    try:
        return [json.loads(line) for line in (folder / "steps.log").read_text().splitlines()]
    except FileNotFoundError:
        return []


def chosen(folder: Path, config: SearchConfig = CONFIG) -> SearchResult:
    with workspace.opened(folder):
        return step.choose(DATA, BASE, config)


@pytest.mark.slow
def test_of_killed_workers_no_trial_is_lost_and_none_begins_anew(tmp_path: Path) -> None:
    kills, chance = 5, random.Random(11)
    workers = Workers(tmp_path, 3)
    for _ in range(kills):
        workers.kill(chance)
    assert workers.join() == [0, 0, 0]
    taken = steps(tmp_path)
    result = chosen(tmp_path)
    assert steps(tmp_path) == taken, "nothing was left for the end"

    assert [trial.number for trial in result.trials] == list(range(CONFIG.trials))
    assert {trial.state for trial in result.trials} == {"complete"}
    by_trial = Counter(name for name, *_ in taken)
    assert len(by_trial) == CONFIG.trials
    assert {len({lr for name, _, lr, _ in taken if name == one}) for one in by_trial} == {1}
    # A kill between a step and its checkpoint repeats that one step.
    assert CONFIG.trials * stub.STEPS <= len(taken) <= CONFIG.trials * stub.STEPS + kills
    handed = {name: len({pid for each, *_, pid in taken if each == name}) for name in by_trial}
    assert max(handed.values()) > 1, "a killed trial was continued by another process"
    assert result.made
    assert result.made.facts["workers"] == 3
    # Who took a trial over and was killed before its first step left no line.
    assert sum(handed.values()) - CONFIG.trials <= result.made.facts["taken_over"] <= kills
    assert {stub.score(BASE.model_copy(update={"optimizer": BASE.optimizer.model_copy(
        update={"lr": trial.params["optimizer.lr"]})}), 3) for trial in result.trials} == {
        trial.value for trial in result.trials
    }  # fmt: skip


@pytest.mark.slow
def test_control_without_the_take_over_the_number_is_short(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 2, "take-over")
    workers.kill(random.Random(1))
    assert workers.join() == [0, 0]
    by_trial = Counter(name for name, *_ in steps(tmp_path))
    assert sum(taken == stub.STEPS for taken in by_trial.values()) == CONFIG.trials - 1

"""A search with `parallel` above one: real processes, real trainings, one journal for all."""

import json
import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from components import workspace
from components.artifacts import SearchResult
from components.errors import ConfigError
from components.trials import SearchConfig
from pipelines import child, searching
from tests.search.test_search import SPACE
from tests.training import small

CONFIG = SearchConfig(trials=4, space={"optimizer.lr": SPACE["optimizer.lr"]}, pruning=None)
BASE = small.recipe(budget={"epochs": 30, "batch_size": 8, "checkpoint_steps": 1})


def arguments(**changes: object) -> dict:
    given = {"data": small.prepared(), "base": BASE, "config": CONFIG}
    return {**given, "start": None, "previous": None, **changes}


def lines(journal: Path, kind: str) -> list[dict]:
    if not journal.is_file():
        return []
    entries = [json.loads(line) for line in journal.read_bytes().splitlines()]
    return [entry for entry in entries if entry["kind"] == kind]


def workers(folder: Path) -> list[Path]:
    return sorted(folder.glob("workers/*/journal.jsonl"))


@pytest.mark.slow
def test_killed_trials_go_on_where_they_were_and_the_number_is_right(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    killed: list[int] = []

    def kill() -> None:
        """Both workers, one of them in the middle of a trial."""
        while not killed:
            time.sleep(0.01)
            said = [line for each in workers(folder) for line in lines(each, "progress")]
            if any(0.2 < line["done"] < 0.7 for line in said):
                for process in multiprocessing.active_children():
                    process.kill()
                    killed.append(1)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    result = searching.search(child.run, arguments(), folder, 2, lambda: None)
    killer.join(1)
    assert isinstance(result, SearchResult)
    assert len(result.trials) == CONFIG.trials
    assert {trial.state for trial in result.trials} == {"complete"}
    assert result.made
    assert result.made.facts["workers"] == 2
    assert 1 <= result.made.facts["taken_over"] <= 2 == len(killed)
    said = sorted(
        (line["text"].split(":")[0], line["time"], line["done"])
        for each in workers(folder)
        for line in lines(each, "progress")
        if line["done"] > 0
    )
    for label in {label for label, *_ in said}:
        shares = [done for one, _, done in said if one == label]
        assert shares == sorted(shares), "no epoch was trained again"
    own = folder / "journal.jsonl"
    assert sorted(line["number"] for line in lines(own, "trial")) == [0, 1, 2, 3]
    assert lines(own, "progress")[-1]["done"] == CONFIG.trials
    assert not list(folder.glob("trials/*"))


def test_a_search_that_cannot_be_is_refused_before_any_worker_starts(tmp_path: Path) -> None:
    data = small.prepared().model_copy(update={"rows": {"train": 60}})
    with pytest.raises(ConfigError, match="compares validation rows"):
        searching.search(child.run, arguments(data=data), tmp_path / "key", 2, lambda: None)
    assert not (tmp_path / "key" / "workers").exists()


def test_the_first_error_stops_the_others_and_is_raised() -> None:
    stopped: list[str] = []

    def fails(look: searching.Watch) -> None:
        raise ConfigError("no such thing", "name another")

    def works(look: searching.Watch) -> None:
        try:
            while True:
                look()
                time.sleep(0.01)
        except searching.Stopped:
            stopped.append("yes")
            raise

    with pytest.raises(ConfigError, match="no such thing"):
        searching.together([works, fails], lambda: None)
    assert stopped == ["yes"]


def test_an_interruption_stops_all_workers() -> None:
    stopped: list[int] = []

    def works(look: searching.Watch) -> None:
        try:
            while True:
                look()
                time.sleep(0.01)
        finally:
            stopped.append(1)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searching.together([works, works], interrupt)
    assert stopped == [1, 1]


def test_a_worker_that_never_comes_to_a_trial_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def dies(entry: str, *_: object) -> None:
        tries.append(entry)
        raise child.StepCrashed("the process ended with signal SIGKILL")

    monkeypatch.setattr(child, "run", dies)
    with pytest.raises(child.StepCrashed, match="SIGKILL"):
        searching._worker(child.run, {}, tmp_path / "0", lambda: None)
    assert len(tries) == searching.IDLE_CRASHES


def test_each_worker_is_of_the_steps_own_study(tmp_path: Path) -> None:
    with workspace.opened(tmp_path / "key" / "workers" / "0") as worker:
        assert worker.step == tmp_path / "key"
    with workspace.opened(tmp_path / "key") as step:
        assert step.step == tmp_path / "key"

"""A run whose steps are all done on another machine ends as one that had none."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from components.records import content
from pipelines import templates
from tests.remote.machines import Machines, until

pytestmark = pytest.mark.slow

DONE_ELSEWHERE = 8
"""Steps of the config that work in a process of their own; the others are the run's."""


class Ended(NamedTuple):
    """A whole run, and what was done to it on the way."""

    run: str
    machines: Machines
    killed: tuple[str, ...]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    templates.build(templates.folder())
    both = Machines(tmp_path_factory.mktemp("machines"))
    try:
        both.up()
        yield both
    finally:
        both.down()


@pytest.fixture(scope="module")
def ended(machines: Machines) -> Ended:
    """The door is killed in one step and the worker in another; both come back."""
    machines.let_in()
    machines.join()
    run = machines.submit()
    killed = []
    journals = machines.here.home / "work"
    until(lambda: _training(journals), "the training to begin")
    machines.kill_door()
    killed.append("door")
    until(lambda: len(list(journals.iterdir())) > 3, "the step after the training")
    machines.kill_worker()
    killed.append("worker")
    machines.join()
    until(lambda: machines.state(run) not in ("queued", "running"), "the run to end")
    return Ended(run, machines, tuple(killed))


def test_a_wrong_token_is_told_in_one_line(machines: Machines, monkeypatch) -> None:
    monkeypatch.setenv("ATHANOR_TOKEN", "a-token-of-some-other-server")
    said = machines.here.athanor("worker", "--server", machines.url, "--slots", "1")
    assert said.code == 6
    assert said.err.count("\n") == 2
    assert "has another token" in said.err
    assert "a-token-of-some-other-server" not in said.err


def test_other_code_is_refused_by_name(machines: Machines, monkeypatch) -> None:
    token = (machines.there.home / "door/token").read_text().strip()
    monkeypatch.setenv("ATHANOR_TOKEN", token)
    edited = machines.here.code / "components/steps/train.py"
    before = edited.read_text()
    edited.write_text(f"{before}\nEDITED = True\n")
    try:
        said = machines.here.athanor("worker", "--server", machines.url, "--slots", "1")
        assert said.code == 6
        assert "runs other code than this clone" in said.err
        doctor = machines.here.athanor("doctor", "--server", machines.url, "--json")
        found = {one["name"]: one for one in doctor.json["findings"]}
        assert (found["door"]["level"], found["same code"]["level"]) == ("ok", "bad")
    finally:
        edited.write_text(before)
    doctor = machines.here.athanor("doctor", "--server", machines.url, "--json")
    assert {one["level"] for one in doctor.json["findings"][-4:]} == {"ok"}


def test_the_run_ends_well_whoever_was_killed(ended: Ended) -> None:
    assert ended.killed == ("door", "worker")
    assert ended.machines.state(ended.run) == "completed", ended.machines.log.read_text()


def test_its_results_are_those_of_one_process(ended: Ended) -> None:
    """The same keys, and under each the same content."""
    there = ended.machines.there
    own = results(there.home)
    alone = there.home.parent / "alone"
    alone.mkdir(mode=0o700)
    home, there.home = there.home, alone
    try:
        there.python("-m", "tests.pipelines.direct", "configs/tiny.yaml", "register")
    finally:
        there.home = home
    expected = results(alone)
    assert len(expected) >= DONE_ELSEWHERE
    assert {key: own.get(key) for key in expected} == expected


def test_every_step_was_done_elsewhere_and_its_journal_arrived_once(ended: Ended) -> None:
    there, here = (m.home / "work" for m in (ended.machines.there, ended.machines.here))
    keys = sorted(path.name for path in here.iterdir())
    assert len(keys) == DONE_ELSEWHERE
    for key in keys:
        arrived = (there / key / "journal.jsonl").read_bytes()
        assert arrived == (here / key / "journal.jsonl").read_bytes()
        assert arrived.count(b'"worker"') >= 1
        assert (there / key / "outcome.json").is_file()
    assert (there / _training(here) / "journal.jsonl").stat().st_size > 1000


def test_nothing_is_left_over(ended: Ended) -> None:
    machines = ended.machines
    left = [*(machines.there.home / "worker/elsewhere").glob("*.json")]
    until(lambda: not [path for path in left if path.exists()], "the last end to be told")
    assert not list((machines.here.home / "worker/at-work").glob("*.json"))
    assert not list((machines.here.home / "work").glob("*/checkpoints"))
    assert (machines.here.project / "data/words/dataset.json").is_file()


def test_gc_leaves_a_step_at_work_and_a_cancelled_one_goes_on_from_there(
    ended: Ended,
) -> None:
    machines = ended.machines
    work, at_work = machines.here.home / "work", machines.here.home / "worker/at-work"
    before = set(work.iterdir())
    run = machines.submit("finetune.budget={epochs: 1000000, batch_size: 16, checkpoint_steps: 50}")

    def kept() -> list[int]:
        """Steps of the checkpoints of the new training."""
        new = [path for path in work.iterdir() if path not in before]
        return sorted(int(each.stem) for path in new for each in path.glob("checkpoints/*.json"))

    until(kept, "a checkpoint on the other machine")
    for machine in (machines.here, machines.there):
        swept = machine.athanor("gc", "--apply", "--older-than", "0", "--json")
        assert swept.code == 0, swept.err
    last = kept()[-1]
    until(lambda: kept()[-1] > last, "the training works on beside gc")
    said = machines.there.athanor("cancel", run, "--json")
    assert said.code == 0, said.err
    assert said.json["state"] == "interrupted"
    until(lambda: not list(at_work.glob("*.json")), "nothing is at work there")
    assert machines.state(run) == "interrupted"
    step = kept()[-1]

    (folder,) = [path for path in work.iterdir() if list(path.glob("checkpoints/*.json"))]
    told = len(_done(folder))
    again = machines.there.athanor("retry", run, "--detach")
    assert again.code == 0, again.err
    until(lambda: len(_done(folder)) > told + 3, "the training goes on")
    assert min(_done(folder)[told:]) >= step
    assert machines.there.athanor("cancel", run).code == 0


def results(home: Path) -> dict[str, object]:
    """The content of every stored result, by key."""
    found = {}
    for path in (home / "cache").iterdir():
        wrapped = json.loads(path.read_bytes())
        found[path.name] = content(json.loads(wrapped["result"])["data"])
    return found


def _training(work: Path) -> str:
    """The key of the step whose journal tells a loss."""
    if not work.is_dir():
        return ""
    for folder in work.iterdir():
        journal = folder / "journal.jsonl"
        if journal.is_file() and b"train/loss" in journal.read_bytes():
            return folder.name
    return ""


def _done(folder: Path) -> list[int]:
    """Steps of a training as its journal tells them, in its order."""
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [int(each["done"]) for each in whole if each["kind"] == "progress"]

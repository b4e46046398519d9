"""The claim of a trial: who has it, who takes it over, and how many there are."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from components import study, trials, workspace
from components.artifacts import SearchResult
from components.errors import TrainingDiverged
from components.space import Values
from components.steps import search as step
from components.study import Plan, drawing, shared, storage
from components.study.locks import FileLocks
from components.study.shared import Claimed, Shared
from components.trials import SearchConfig
from pipelines import reaping
from tests.search import test_parallel, test_search

SPACE = {"lr": Values(low=1e-3, high=1.0, log=True), "width": Values(low=2, high=64)}
FIRST = [{"lr": 0.5, "width": 3}]


@contextmanager
def joined(trials: int = 3) -> Iterator[Shared]:
    with shared.joined(plan(), trials) as held:
        yield held


def plan() -> Plan:
    return Plan("a", SPACE, 3, "maximize", study.no_pruner())


def claimed(held: Shared) -> Claimed:
    found = held.claim("me", FIRST)
    assert found is not None
    return found


def states() -> list[TrialState]:
    with storage.opened() as store:
        return [each.state for each in optuna.load_study(study_name="a", storage=store).trials]


def test_of_two_workers_each_has_its_own_trial_and_then_there_is_none() -> None:
    with joined(2) as one, joined(2) as other:
        mine, theirs = claimed(one), claimed(other)
        assert mine.trial.params == FIRST[0]
        assert theirs.trial.params != FIRST[0]
        assert (mine.number, theirs.number) == (0, 1)
        assert one.claim("me", FIRST) is None
        other.tell(theirs, "complete", 0.7)
        assert one.claim("me", FIRST) is None
        assert not one.over
        one.tell(mine, "failed")
        assert one.over
        assert [(each.number, each.state, each.value) for each in other.trials] == [
            (0, "failed", None),
            (1, "complete", 0.7),
        ]


def test_a_dead_workers_trial_is_the_next_one_with_its_values_and_checkpoints() -> None:
    with joined() as one, joined() as other:
        alive, dead = claimed(one), claimed(one)
        dead.release()  # the kernel does it for who dies
        again = claimed(other)
        assert again.trial.number == dead.trial.number
        assert again.trial.params == dead.trial.params
        assert again.checkpoints == dead.checkpoints != alive.checkpoints
        other.tell(again, "complete", 0.1)
        assert other.facts() == {"workers": 1, "taken_over": 1}


def test_a_trial_that_ends_between_the_look_and_the_lock_is_not_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with joined(2) as one, joined(2) as other:
        mine = claimed(one)
        real = Shared._take

        def ends_first(self: Shared, number: int) -> object:
            if self is other and number == mine.trial.number:
                one.tell(mine, "complete", 0.5)
            return real(self, number)

        monkeypatch.setattr(Shared, "_take", ends_first)
        assert claimed(other).number == 1
        assert one.facts()["taken_over"] == 0


@pytest.mark.parametrize("look", range(1, 5))
def test_a_trial_that_ends_while_another_is_claimed_makes_no_room(
    look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends a trial waits for no claim: it may end between any two looks at the study."""
    with joined(2) as one, joined(2) as other:
        mine = claimed(one)
        theirs = claimed(other)
        real, looks = other._study.get_trials, itertools.count(1)

        def ends_after(*given: Any, **more: Any) -> object:
            seen = real(*given, **more)
            if next(looks) == look:
                one.tell(mine, "complete", 0.5)
            return seen

        with monkeypatch.context() as patch:
            patch.setattr(other._study, "get_trials", ends_after)
            assert other.claim("me", FIRST) is None
        other.tell(theirs, "complete", 0.1)
        assert len(states()) == 2


def worked(folder: Path, die: Callable[[int], None]) -> SearchResult:
    """A search of one trial whose process dies as `die` says, at each try until it does not."""
    config = SearchConfig(trials=1, space=test_search.SPACE)
    task = (test_parallel.DATA, test_search.BASE, config)
    tries = itertools.count()

    def run(*given: Any) -> trials.Ended:
        number = next(tries)
        given[2].mkdir(parents=True, exist_ok=True)
        die(number)
        return trials.Ended("complete", 0.5)

    with workspace.opened(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "run", run)
        for _ in range(3 * shared.MOST_DEATHS):
            with suppress(Killed):
                step.work(*task)
                break
        return step.choose(*task)


class Killed(BaseException):
    """As sudden as a kill."""


def test_a_trial_that_kills_its_process_at_one_place_again_and_again_is_failed(
    tmp_path: Path,
) -> None:
    def dies(number: int) -> None:
        raise Killed

    with pytest.raises(TrainingDiverged, match="none of 1 trials"):
        worked(tmp_path, dies)


def test_a_trial_that_comes_further_before_each_death_is_not_failed(tmp_path: Path) -> None:
    def dies(number: int) -> None:
        for folder in tmp_path.glob("trials/*"):
            (folder / f"{number}.json").write_text("a checkpoint")
        if number < 2 * shared.MOST_DEATHS:
            time.sleep(0.01)
            raise Killed

    result = worked(tmp_path, dies)
    assert [trial.state for trial in result.trials] == ["complete"]
    assert result.made
    assert result.made.facts["taken_over"] == 2 * shared.MOST_DEATHS


@pytest.mark.parametrize("waits", [False, True])
def test_a_worker_that_dies_while_it_draws_has_begun_no_trial(
    monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    with joined() as held:
        if waits:  # for values that a buried search left
            held._study.enqueue_trial({"lr": 0.25, "width": 8})
        with monkeypatch.context() as patch:
            patch.setattr(optuna.Trial, "set_user_attr", _killed)
            with pytest.raises(KeyboardInterrupt):
                held.claim("me", FIRST)
    with joined() as held:
        begun = [claimed(held), claimed(held), claimed(held)]
        assert begun[0].trial.params == ({"lr": 0.25, "width": 8} if waits else FIRST[0])
        assert [one.number for one in begun] == [0, 1, 2]
        assert held.claim("me", FIRST) is None


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_after_all_have_died_the_reaper_buries_and_the_trials_go_on_all_the_same() -> None:
    with joined() as held:
        first, second = claimed(held), claimed(held)
        assert reaping.optuna() == 0, "a worker lives"
        first.release()
        second.release()
    assert reaping.optuna() == 1
    with joined() as held:
        again = [claimed(held), claimed(held), claimed(held)]
        assert held.claim("me", FIRST) is None
    assert [each.trial.params for each in again[:2]] == [first.trial.params, second.trial.params]
    assert [each.checkpoints for each in again[:2]] == [first.checkpoints, second.checkpoints]
    assert [each.number for each in again] == [0, 1, 2]


def test_what_one_process_began_several_finish_and_the_other_way_round() -> None:
    with study.opened(plan()) as held:
        held.tell(held.ask(FIRST[0]), "complete", 0.5)
        begun = held.ask().params
    with joined() as together:
        mine = claimed(together)
        assert mine.trial.params == begun
        other = claimed(together)
        mine.release()
        other.release()
    with study.opened(plan()) as held:
        assert [held.ask().params, held.ask().params] == [mine.trial.params, other.trial.params]


def _meanwhile(monkeypatch: pytest.MonkeyPatch, other: Shared) -> threading.Thread:
    """Another worker that claims between the first one's look and its trial."""
    real = drawing.sampler
    beside = threading.Thread(target=lambda: other.claim("other", FIRST))

    def drawn(*given: int) -> optuna.samplers.TPESampler:
        if threading.current_thread() is not beside:
            beside.start()
            beside.join(1.0)
        return real(*given)

    monkeypatch.setattr(drawing, "sampler", drawn)
    return beside


def test_whoever_claims_at_the_same_moment_waits_and_finds_it_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with joined(1) as one, joined(1) as other:
        beside = _meanwhile(monkeypatch, other)
        claimed(one)
        beside.join()
        assert states() == [TrialState.RUNNING]


def test_control_without_the_lock_there_is_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    with joined(1) as one, joined(1) as other:
        monkeypatch.setattr(FileLocks, "alone", lambda *_: nullcontext())
        beside = _meanwhile(monkeypatch, other)
        claimed(one)
        beside.join()
        assert states() == [TrialState.RUNNING, TrialState.RUNNING]


def test_who_lost_its_trial_to_another_takes_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the PostgreSQL that kept the locks."""

    def another_ends_it(task: object, trial: optuna.Trial, *_: object) -> trials.Ended:
        if trial.number == 0:
            trial.study.tell(trial, 0.9)
        return trials.Ended("complete", 0.5)

    monkeypatch.setattr(trials, "run", another_ends_it)
    config = SearchConfig(trials=2, space=test_search.SPACE)
    with workspace.opened(tmp_path):
        task = (test_parallel.DATA, test_search.BASE, config)
        assert step.work(*task) == step.Worked(trials=2)
        assert len(step.choose(*task).trials) == 2

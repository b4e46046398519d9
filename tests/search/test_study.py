"""Trials whose process died: failed, and their values come again; nobody else's is touched."""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import pytest
from optuna.trial import TrialState

from components import study
from components.space import Values
from components.study import Plan, Study, storage
from pipelines import reaping

SPACE = {"lr": Values(low=1e-3, high=1.0, log=True), "width": Values(low=2, high=64)}


@contextmanager
def opened() -> Iterator[Study]:
    with study.opened(Plan("a", SPACE, 3, "maximize", study.no_pruner())) as held:
        yield held


def states() -> list[tuple[TrialState, dict]]:
    with storage.opened() as store:
        found = optuna.load_study(study_name="a", storage=store).get_trials()
    return [(trial.state, trial.params) for trial in found]


def cut_off() -> dict:
    """The values of a trial whose process is gone."""
    with opened() as held:
        held.tell(held.ask(), "complete", 0.5)
        params = held.ask().params
    assert [state for state, _ in states()] == [TrialState.COMPLETE, TrialState.RUNNING]
    return params


def test_a_trial_of_a_dead_search_is_failed_and_its_values_are_tried_next() -> None:
    params = cut_off()
    assert reaping.optuna() == 1
    assert reaping.optuna() == 0
    assert [state for state, _ in states()] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.WAITING,
    ]
    with opened() as held:
        again = held.ask()
        assert again.params == params
        held.tell(again, "complete", 0.7)
        assert [trial.value for trial in held.trials] == [0.5, 0.7]
        assert held.trials[1].params == params


def test_the_values_come_from_the_dead_trial_and_not_from_a_new_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = cut_off()
    monkeypatch.setattr(study, "_sampler", lambda *_: optuna.samplers.RandomSampler(seed=99))
    with opened() as held:
        first, second = held.ask(), held.ask()
    assert first.params == params
    assert second.params != params, "the other sampler would have drawn the same"


def test_a_search_that_lives_keeps_its_trial() -> None:
    with opened() as held:
        held.ask()
        assert reaping.optuna() == 0
    assert [state for state, _ in states()] == [TrialState.RUNNING]
    assert reaping.optuna() == 1


def test_a_kill_between_enqueueing_and_failing_enqueues_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = cut_off()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            reaping.optuna()
    assert [state for state, _ in states()][1:] == [TrialState.RUNNING, TrialState.WAITING]
    assert reaping.optuna() == 1
    assert [state for state, _ in states()][1:] == [TrialState.FAIL, TrialState.WAITING]
    with opened() as held:
        assert held.ask().params == params


def test_a_trial_that_died_before_it_had_all_its_values_is_drawn_again() -> None:
    params = cut_off()
    with storage.opened() as store:
        found = optuna.load_study(study_name="a", storage=store)
        store.set_trial_user_attr(found.trials[1]._trial_id, study.DRAWN, False)
    # A mark that is false was never set: the trial is in the state of a kill before the mark.
    assert reaping.optuna() == 1
    with opened() as held:
        assert held.ask().params == params, "another draw at the same place in the search"


def test_without_a_store_nothing_is_looked_for() -> None:
    assert reaping.optuna() == 0
    assert not storage.database().exists()

"""How trials are drawn, marked, ended and read back, by one process or by many."""

import hashlib
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from components.artifacts import Trial
from components.space import Values

State = Literal["complete", "pruned", "failed"]

FAILED = "athanor.failed"
"""Mark of a trial that failed by itself; one that failed without it died with its process."""

DRAWN = "athanor.drawn"
"""Mark of a trial that has all its values."""

BEST = "athanor.value"
"""Best value that a trial reported."""

AGAIN = "athanor.again"
"""Number of the dead trial whose values this one has."""

FIRST = "athanor.first"
"""Number of the first of them: its checkpoints go on."""

STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def sampler(seed: int, place: int) -> optuna.samplers.TPESampler:
    """Draws one trial; `place` is the number of trials before it.

    A trial still running counts as a bad one, so that others look elsewhere meanwhile.
    """
    drawn = hashlib.sha256(f"{seed}:{place}".encode()).digest()
    return optuna.samplers.TPESampler(
        seed=int.from_bytes(drawn[:4]), n_startup_trials=10, constant_liar=True
    )


def distribution(values: Values) -> BaseDistribution:
    """What Optuna draws a path's value from."""
    if values.choices is not None:
        return CategoricalDistribution(values.choices)
    low, high = values.low or 0, values.high or 0
    if values.whole:
        return IntDistribution(int(low), int(high), log=values.log)
    return FloatDistribution(float(low), float(high), log=values.log)


def end(study: optuna.Study, trial: optuna.Trial, state: State, value: float | None) -> None:
    """Tell how a trial ended by itself; only a complete one has its value compared."""
    if value is not None:
        trial.set_user_attr(BEST, value)
    if state == "failed":
        trial.set_user_attr(FAILED, True)
    if state == "complete":
        study.tell(trial, value)
    else:
        study.tell(trial, state=TrialState.PRUNED if state == "pruned" else TrialState.FAIL)


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial ended by itself, well or not."""
    return trial.state in STATES and (trial.state != TrialState.FAIL or FAILED in trial.user_attrs)


def finished(study: optuna.Study) -> list[Trial]:
    """What the storage knows of trials that ended by themselves, in the order of their begin."""
    ended = filter(counts, study.get_trials(deepcopy=False))
    return [as_record(number, trial) for number, trial in enumerate(ended)]


def as_record(number: int, trial: FrozenTrial) -> Trial:
    """A trial that ended by itself, under a number of ours."""
    return Trial(
        number=number,
        state=STATES[trial.state],
        value=trial.user_attrs.get(BEST),
        params=trial.params,
    )


def waiting(study: optuna.Study) -> bool:
    """Whether a trial with given values waits to be asked for."""
    return bool(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def running(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were begun and did not end."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def begun(study: optuna.Study) -> int:
    """How many trials run or ended by themselves, all counted at one look.

    Nobody who ends a trial waits for who counts: at a second look it would be neither.
    """
    known = study.get_trials(deepcopy=False)
    return sum(trial.state == TrialState.RUNNING or counts(trial) for trial in known)


def bury(study: optuna.Study, dead: FrozenTrial) -> None:
    """Fail a trial of a dead process; the values that it was given go to a next trial.

    They are enqueued first: whoever is killed between the two goes on there.
    """
    params: dict[str, Any] | None = dead.system_attrs.get("fixed_params")
    if dead.user_attrs.get(DRAWN):
        params = dead.params
    known = study.get_trials(deepcopy=False)
    again = any(trial.user_attrs.get(AGAIN) == dead.number for trial in known)
    if params is not None and not again:
        first = dead.user_attrs.get(FIRST, dead.number)
        study.enqueue_trial(params, user_attrs={AGAIN: dead.number, FIRST: first})
    study.tell(dead.number, state=TrialState.FAIL)

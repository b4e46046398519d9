"""A search's trials in Optuna: the same list of trials, undisturbed or killed at any moment.

Each trial is drawn by a sampler of its own, seeded by the search's seed and the number of trials
finished before it, so a proposal depends on finished trials alone. A study is held by a kernel
lock: a trial that still runs when the lock is had belongs to a dead process and is failed, and
its place is drawn again, to the same values. Journal storage is no choice here: one torn line
makes a study unreadable for good (Optuna 5.0).
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from components import files, project
from components.artifacts import Trial
from components.space import Values

FAILED = "athanor.failed"
"""Mark of a trial that failed by itself; one that failed without it died with its process."""

BEST = "athanor.value"
"""Best value that a trial reported."""

STATES: dict[TrialState, Literal["complete", "pruned", "failed"]] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class Study:
    """An open study, held by this process alone."""

    def __init__(self, study: optuna.Study, space: Mapping[str, Values], seed: int) -> None:
        self._study = study
        self._seed = seed
        # Each draws from the sampler's numbers in turn: by name, for the order in which a config
        # lists them is no part of it.
        self._distributions = {p: _distribution(values) for p, values in sorted(space.items())}
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
        self._finished = _finished(study)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Finished trials, numbered in the order in which they finished."""
        return tuple(self._finished)

    def ask(self, wanted: Mapping[str, Any] | None = None) -> optuna.Trial:
        """The next trial: with these values, or with those that the finished ones suggest."""
        if wanted is not None and not self._waiting():
            self._study.enqueue_trial(dict(wanted))
        self._study.sampler = _sampler(self._seed, len(self._finished))
        return self._study.ask(self._distributions)

    def tell(
        self,
        trial: optuna.Trial,
        state: Literal["complete", "pruned", "failed"],
        value: float | None = None,
    ) -> None:
        """How a trial ended; only a complete one has its value compared."""
        if value is not None:
            trial.set_user_attr(BEST, value)
        if state == "failed":
            trial.set_user_attr(FAILED, True)
        if state == "complete":
            self._study.tell(trial, value)
        else:
            ended = TrialState.PRUNED if state == "pruned" else TrialState.FAIL
            self._study.tell(trial, state=ended)
        number = len(self._finished)
        self._finished.append(Trial(number=number, state=state, value=value, params=trial.params))

    def _waiting(self) -> bool:
        return bool(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


@contextmanager
def opened(
    name: str,
    space: Mapping[str, Values],
    seed: int,
    direction: Literal["maximize", "minimize"],
    pruner: optuna.pruners.BasePruner,
) -> Iterator[Study]:
    """Hold a study, made when absent; another process that wants the same one waits."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    folder = project.home() / "optuna"
    with files.locked(folder / "locks" / f"{name}.lock"):
        storage = _storage(folder / "optuna.db")
        try:
            made = optuna.create_study(
                storage=storage,
                study_name=name,
                direction=direction,
                pruner=pruner,
                load_if_exists=True,
            )
            yield Study(made, space, seed)
        finally:
            storage.remove_session()
            storage.engine.dispose()


def pruner(startup: int, warmup_epochs: int, at_least: int) -> optuna.pruners.BasePruner:
    """Stops a trial that is worse than the median of the others at its epoch, and late.

    Eager pruners win early and then stay below no pruning at all: a stopped trial cannot go on.
    """
    return optuna.pruners.MedianPruner(
        n_startup_trials=startup, n_warmup_steps=warmup_epochs, n_min_trials=at_least
    )


def no_pruner() -> optuna.pruners.BasePruner:
    """Every trial runs to its end."""
    return optuna.pruners.NopPruner()


def _finished(study: optuna.Study) -> list[Trial]:
    """What the storage knows of trials that ended by themselves."""
    ended = study.get_trials(deepcopy=False, states=tuple(STATES))
    counted = [
        trial for trial in ended if trial.state != TrialState.FAIL or FAILED in trial.user_attrs
    ]
    return [
        Trial(
            number=number,
            state=STATES[trial.state],
            value=trial.user_attrs.get(BEST),
            params=trial.params,
        )
        for number, trial in enumerate(counted)
    ]


def _storage(database: Path) -> optuna.storages.RDBStorage:
    """Processes that open a fresh store at once would crash: the first open is under a lock."""
    with files.locked(database.with_suffix(".lock")):
        return optuna.storages.RDBStorage(
            f"sqlite:///{database}", engine_kwargs={"connect_args": {"timeout": 60}}
        )


def _sampler(seed: int, finished: int) -> optuna.samplers.TPESampler:
    drawn = hashlib.sha256(f"{seed}:{finished}".encode()).digest()
    return optuna.samplers.TPESampler(seed=int.from_bytes(drawn[:4]), n_startup_trials=10)


def _distribution(values: Values) -> BaseDistribution:
    if values.choices is not None:
        return CategoricalDistribution(values.choices)
    low, high = values.low or 0, values.high or 0
    if values.whole:
        return IntDistribution(int(low), int(high), log=values.log)
    return FloatDistribution(float(low), float(high), log=values.log)

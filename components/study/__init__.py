"""A search's trials in Optuna: the same list of trials, undisturbed or killed at any moment.

Each trial is drawn by a sampler of its own, seeded by the search's seed and the number of trials
finished before it, so a proposal depends on finished trials alone. A study is held by a
lock: a trial that still runs when the lock is had belongs to a dead process. It is failed, and
its values are enqueued as the next trial's; one that was killed before it had all its values is
drawn again, to the same ones. Journal storage is no choice here: one torn line
makes a study unreadable for good (Optuna 5.0).

A study that several processes search at one time is `components.study.shared`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import optuna

from components.artifacts import Trial
from components.space import Values
from components.study import drawing, storage
from components.study.drawing import DRAWN, State
from components.study.drawing import sampler as _sampler


class Plan(NamedTuple):
    """What a study draws from, and what it asks for."""

    name: str
    space: Mapping[str, Values]
    seed: int
    direction: Literal["maximize", "minimize"]
    pruner: optuna.pruners.BasePruner

    @property
    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """By path, sorted: each draws from the sampler's numbers in turn, and the order in which
        a config lists them is no part of it."""
        return {path: drawing.distribution(each) for path, each in sorted(self.space.items())}


class Study:
    """An open study, held by this process alone."""

    def __init__(self, study: optuna.Study, plan: Plan) -> None:
        self._study = study
        self._seed = plan.seed
        self._distributions = plan.distributions
        for dead in drawing.running(study):
            drawing.bury(study, dead)
        self._finished = drawing.finished(study)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Finished trials, numbered in the order in which they finished."""
        return tuple(self._finished)

    def ask(self, wanted: Mapping[str, Any] | None = None) -> optuna.Trial:
        """The next trial: with these values, or with those that the finished ones suggest."""
        if wanted is not None and not drawing.waiting(self._study):
            self._study.enqueue_trial(dict(wanted))
        self._study.sampler = _sampler(self._seed, len(self._finished))
        trial = self._study.ask(self._distributions)
        trial.set_user_attr(DRAWN, True)
        return trial

    def tell(self, trial: optuna.Trial, state: State, value: float | None = None) -> None:
        """How a trial ended; only a complete one has its value compared."""
        drawing.end(self._study, trial, state, value)
        number = len(self._finished)
        self._finished.append(Trial(number=number, state=state, value=value, params=trial.params))


@contextmanager
def opened(plan: Plan) -> Iterator[Study]:
    """Hold a study, made when absent; another process that wants the same one waits."""
    with storage.locks().alone(plan.name), storage.opened() as store:
        yield Study(made(store, plan), plan)


def made(store: optuna.storages.RDBStorage, plan: Plan) -> optuna.Study:
    """The study of a plan, made when absent."""
    return optuna.create_study(
        storage=store,
        study_name=plan.name,
        direction=plan.direction,
        pruner=plan.pruner,
        load_if_exists=True,
    )


def bury(names: Iterable[str]) -> int:
    """Fail the running trials of those studies that nobody searches; gives their number.

    A study whose lock is held is being searched by a living process.
    """
    buried = 0
    for name in names:
        release = storage.locks().take(name)
        if release is None:
            continue
        try:
            with storage.opened() as store:
                study = optuna.load_study(study_name=name, storage=store)
                for dead in drawing.running(study):
                    drawing.bury(study, dead)
        finally:
            release()
        buried += 1
    return buried


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

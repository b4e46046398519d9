"""A search's trials in Optuna: the same list of trials, undisturbed or killed at any moment.

Each trial is drawn by a sampler of its own, seeded by the search's seed and the number of trials
finished before it, so a proposal depends on finished trials alone. A study is held by a kernel
lock: a trial that still runs when the lock is had belongs to a dead process. It is failed, and
its values are enqueued as the next trial's; one that was killed before it had all its values is
drawn again, to the same ones. Journal storage is no choice here: one torn line
makes a study unreadable for good (Optuna 5.0).
"""

import fcntl
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
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

from components import databases, files, project
from components.artifacts import Trial
from components.space import Values

FAILED = "athanor.failed"
"""Mark of a trial that failed by itself; one that failed without it died with its process."""

DRAWN = "athanor.drawn"
"""Mark of a trial that has all its values."""

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
        _bury(study)
        self._finished = _finished(study)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Finished trials, numbered in the order in which they finished."""
        return tuple(self._finished)

    def ask(self, wanted: Mapping[str, Any] | None = None) -> optuna.Trial:
        """The next trial: with these values, or with those that the finished ones suggest."""
        if wanted is not None and not _waiting(self._study):
            self._study.enqueue_trial(dict(wanted))
        self._study.sampler = _sampler(self._seed, len(self._finished))
        trial = self._study.ask(self._distributions)
        trial.set_user_attr(DRAWN, True)
        return trial

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


@contextmanager
def opened(
    name: str,
    space: Mapping[str, Values],
    seed: int,
    direction: Literal["maximize", "minimize"],
    pruner: optuna.pruners.BasePruner,
) -> Iterator[Study]:
    """Hold a study, made when absent; another process that wants the same one waits."""
    with files.locked(_lock(name)), _storage(_database()) as storage:
        made = optuna.create_study(
            storage=storage,
            study_name=name,
            direction=direction,
            pruner=pruner,
            load_if_exists=True,
        )
        yield Study(made, space, seed)


def bury(names: Iterable[str]) -> int:
    """Fail the running trials of those studies that nobody searches; gives their number.

    A study whose lock is held is being searched by a living process.
    """
    buried = 0
    for name in names:
        lock = _lock(name)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            with _storage(_database()) as storage:
                _bury(optuna.load_study(study_name=name, storage=storage))
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


def _bury(study: optuna.Study) -> None:
    """Fail the trials of a dead process; the values of a whole one go to the next trial.

    They are enqueued first: whoever is killed between the two does both again.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(DRAWN) and not _waiting(study):
            study.enqueue_trial(trial.params)
        study.tell(trial.number, state=TrialState.FAIL)


def _waiting(study: optuna.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def _database() -> Path:
    return project.home() / "optuna" / "optuna.db"


def _lock(name: str) -> Path:
    return project.home() / "optuna" / "locks" / f"{name}.lock"


@contextmanager
def _storage(database: Path) -> Iterator[optuna.storages.RDBStorage]:
    """Processes that open a fresh store at once would crash: the first open is under a lock."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with files.locked(database.with_suffix(".lock")):
        if database.is_file():
            databases.demand_whole(database, "move it aside: an unfinished search begins anew")
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{database}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


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

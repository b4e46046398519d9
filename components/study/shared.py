"""A study that several processes search side by side, each of which may be killed.

Who has a trial holds its lock, and whoever looks for work first looks for a trial that runs and
whose lock is free: its holder is dead. That trial goes on as it is, with the same values and the
same checkpoints; it is not begun a second time. Only then a new trial is drawn, while finished and
running ones are fewer than wanted. All of this happens under one short lock, so a study has
never more trials than it was asked for. Between claims nobody waits for anybody.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from components.artifacts import Trial
from components.study import Plan, drawing, made, storage
from components.study.drawing import DRAWN, FIRST, State
from components.study.locks import Locks, Release

WORKER = "athanor.worker"
"""Who had the trial last."""

TAKEN = "athanor.taken"
"""How often it was taken over."""

DEATHS = "athanor.deaths"
"""How far it was when it was taken over last, and how often in a row it died there."""

SECONDS = "athanor.seconds"
"""How long its last holder worked on it."""

ERROR = "athanor.error"
"""Why it failed."""

MOST_DEATHS = 4
"""A trial that dies so often without coming further kills its process itself: it is failed."""


class Claimed(NamedTuple):
    """A trial, and the right to work on it."""

    trial: optuna.Trial
    number: int
    """Its place among the trials of the study, from 0."""
    checkpoints: str
    """Name of the folder of its checkpoints, whoever works on it."""
    release: Release
    began: float
    taken: int
    """How often it was taken over from a dead process."""


class Shared:
    """A study that this process searches beside others."""

    def __init__(self, study: optuna.Study, plan: Plan, wanted: int, locks: Locks) -> None:
        self._study, self._plan, self._wanted, self._locks = study, plan, wanted, locks
        self._held: list[Release] = []

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Finished trials, numbered in the order in which they were begun."""
        places = self._places()
        ended = sorted(self._ended(), key=lambda trial: places[trial.number])
        return tuple(drawing.as_record(places[trial.number], trial) for trial in ended)

    @property
    def over(self) -> bool:
        """Whether every trial that was asked for has ended."""
        return len(self._ended()) >= self._wanted

    def claim(self, worker: str, first: Sequence[Mapping[str, Any]]) -> Claimed | None:
        """The next trial to work on: a dead worker's, else a new one; None: all are in hand.

        `first` are the values that are tried before any are drawn.
        """
        with self._locks.alone(f"{self._plan.name}/claim"):
            claimed = self._orphan() or self._new(first)
        if claimed is not None:
            claimed.trial.set_user_attr(WORKER, worker)
        return claimed

    def tell(self, claimed: Claimed, state: State, value: float | None = None) -> None:
        """How a trial ended; only a complete one has its value compared."""
        claimed.trial.set_user_attr(SECONDS, round(time.monotonic() - claimed.began, 3))
        drawing.end(self._study, claimed.trial, state, value)
        claimed.release()

    def deadly(self, claimed: Claimed, place: str) -> bool:
        """Whether a trial dies again and again where it stands, which `place` describes."""
        if not claimed.taken:
            return False
        seen, deaths = claimed.trial.user_attrs.get(DEATHS, (place, 0))
        deaths = deaths + 1 if seen == place else 1
        claimed.trial.set_user_attr(DEATHS, (place, deaths))
        if deaths >= MOST_DEATHS:
            claimed.trial.set_user_attr(ERROR, f"its process died {deaths} times at one place")
        return deaths >= MOST_DEATHS

    def leave(self) -> None:
        """Let others have what this process did not finish."""
        for release in self._held:
            release()

    def seconds(self) -> dict[int, float]:
        """How long each finished trial's last holder worked on it, by our number."""
        places = self._places()
        return {places[each.number]: each.user_attrs.get(SECONDS, 0.0) for each in self._ended()}

    def facts(self) -> dict[str, int]:
        """How many were at work, and how often one went on with a dead one's trial."""
        ended = self._ended()
        workers = {trial.user_attrs[WORKER] for trial in ended if WORKER in trial.user_attrs}
        taken = sum(trial.user_attrs.get(TAKEN, 0) for trial in ended)
        return {"workers": len(workers), "taken_over": taken}

    def _orphan(self) -> Claimed | None:
        """A trial whose holder is dead, to go on with."""
        for number in [trial.number for trial in drawing.running(self._study)]:
            release = self._take(number)
            if release is None:
                continue
            dead = next(
                (each for each in drawing.running(self._study) if each.number == number), None
            )
            if dead is None:  # its holder ended it between the look and the lock
                release()
                continue
            if not dead.user_attrs.get(DRAWN):  # it died while it was drawn: nobody worked on it
                drawing.bury(self._study, dead)
                release()
                continue
            trial = optuna.Trial(self._study, dead._trial_id)
            trial.set_user_attr(TAKEN, dead.user_attrs.get(TAKEN, 0) + 1)
            return self._claimed(trial, release)
        return None

    def _new(self, first: Sequence[Mapping[str, Any]]) -> Claimed | None:
        """A trial that nobody has begun, where one is wanted."""
        begun = drawing.begun(self._study)
        if begun >= self._wanted:
            return None
        if begun < len(first) and not drawing.waiting(self._study):
            self._study.enqueue_trial(dict(first[begun]))
        self._study.sampler = drawing.sampler(self._plan.seed, begun)
        trial = self._study.ask(self._plan.distributions)
        release = self._take(trial.number)
        if release is None:  # numbers are never used again
            raise RuntimeError(f"somebody holds the new trial {trial.number} of {self._plan.name}")
        trial.set_user_attr(DRAWN, True)
        return self._claimed(trial, release)

    def _take(self, number: int) -> Release | None:
        """The lock of a trial, if nobody has it."""
        release = self._locks.take(f"{self._plan.name}/{number}")
        if release is not None:
            self._held.append(release)
        return release

    def _claimed(self, trial: optuna.Trial, release: Release) -> Claimed:
        checkpoints = str(trial.user_attrs.get(FIRST, trial.number))
        number = self._places()[trial.number]
        taken = trial.user_attrs.get(TAKEN, 0)
        return Claimed(trial, number, checkpoints, release, time.monotonic(), taken)

    def _ended(self) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if drawing.counts(trial)]

    def _places(self) -> dict[int, int]:
        """Our number of each trial by Optuna's: a buried trial's place is that of its values."""
        open_ = (TrialState.RUNNING, TrialState.WAITING)
        known = self._study.get_trials(deepcopy=False)
        counted = [trial for trial in known if drawing.counts(trial) or trial.state in open_]
        counted.sort(key=lambda trial: trial.user_attrs.get(FIRST, trial.number))
        return {trial.number: place for place, trial in enumerate(counted)}


@contextmanager
def joined(plan: Plan, wanted: int) -> Iterator[Shared]:
    """A study, made when absent, beside others who search it; who holds it alone is waited for."""
    locks = storage.locks()
    with locks.beside(plan.name), storage.opened() as store:
        with locks.alone(f"{plan.name}/claim"):
            study = made(store, plan)
        shared = Shared(study, plan, wanted, locks)
        try:
            yield shared
        finally:
            shared.leave()

"""Search: the recipe whose values did best on validation rows.

`search` is one process, whose list of trials never changes. Where several are to work, the same
search is `open_study`, then `work` in each of them, then `choose`; their list of trials depends
on who was faster, its length does not, whoever is killed.
"""

import hashlib
import json
import shutil
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from components import trials, workspace
from components.artifacts import Made, Prepared, SearchResult, Trial, Weights
from components.errors import ConfigError
from components.files import canonical
from components.recipe import Recipe
from components.records import Record
from components.space import Values, changed, check_space
from components.trials import Pruning, SearchConfig, Task, trial_recipe

if TYPE_CHECKING:
    from components.study import Plan, Study
    from components.study.shared import Claimed, Shared

__all__ = [
    "Opened",
    "Pruning",
    "SearchConfig",
    "Values",
    "Worked",
    "check_space",
    "choose",
    "open_study",
    "search",
    "trial_recipe",
    "work",
]

F = TypeVar("F", bound=Callable[..., Record])

LOOK_S = 0.5
"""How often who has nothing to do looks for a trial whose holder died."""


class Opened(Record):
    """A study that workers can join."""

    study: str
    trials: int


class Worked(Record):
    """What one worker did."""

    trials: int


class Wanted(NamedTuple):
    """A search that was looked through: what is searched, what is tried first, which study."""

    task: Task
    first: list[dict[str, Any]]
    plan: "Plan"


def open_study(
    data: Prepared,
    base: Recipe,
    config: SearchConfig,
    *,
    start: Weights | None = None,
    previous: SearchResult | None = None,
) -> Opened:
    """The study of a search, made when absent; workers may join it.

    Raises:
        ConfigError: the data have no validation rows, or the space does not fit the recipe.
    """
    from components.study import shared

    wanted = _wanted(Task(data, base, config, start), previous)
    with shared.joined(wanted.plan, config.trials) as study:
        _tell_missing(study.trials, study.seconds())
    return Opened(study=wanted.plan.name, trials=config.trials)


def work(
    data: Prepared,
    base: Recipe,
    config: SearchConfig,
    *,
    start: Weights | None = None,
    previous: SearchResult | None = None,
) -> Worked:
    """Take one trial after another until each is finished or in somebody's hands.

    Any number of processes do this side by side. Killed and started again, or not, the trial goes
    on from its last checkpoint with whoever looks next.

    Raises:
        ConfigError: the data have no validation rows, or the space does not fit the recipe.
    """
    from components.study import shared

    wanted = _wanted(Task(data, base, config, start), previous)
    with shared.joined(wanted.plan, config.trials) as study:
        done = 0
        while claimed := study.claim(_worker(), wanted.first):
            _take(study, claimed, wanted.task)
            done += 1
    return Worked(trials=done)


def choose(
    data: Prepared,
    base: Recipe,
    config: SearchConfig,
    *,
    start: Weights | None = None,
    previous: SearchResult | None = None,
) -> SearchResult:
    """The result of a search by several workers; what they left undone is done here.

    Raises:
        ConfigError: the data have no validation rows, or the space does not fit the recipe.
        TrainingDiverged: no trial came to an end.
    """
    from components.study import shared

    began = time.monotonic()
    wanted = _wanted(Task(data, base, config, start), previous)
    with shared.joined(wanted.plan, config.trials) as study:
        while not study.over:
            if claimed := study.claim(_worker(), wanted.first):
                _take(study, claimed, wanted.task)
            else:
                time.sleep(LOOK_S)
        found, facts = study.trials, study.facts()
        _tell_missing(found, study.seconds())
    return _result(wanted.task, found, began, facts)


def _stands_for(*_parts: Callable[..., Record]) -> Callable[[F], F]:
    """Marks what else may make a step's result: the step's key reaches that code too."""
    return lambda step: step


@_stands_for(open_study, work, choose)
def search(
    data: Prepared,
    base: Recipe,
    config: SearchConfig,
    *,
    start: Weights | None = None,
    previous: SearchResult | None = None,
) -> SearchResult:
    """The base recipe with the best values found, at its full budget.

    The base's own values are tried first, then the best of `previous`. A search that was killed
    goes on, and its list of trials is the one of an undisturbed search: a trial that a kill cut
    off is trained again from its start.

    Raises:
        ConfigError: the data have no validation rows, or the space does not fit the recipe.
        TrainingDiverged: no trial came to an end.
    """
    from components import study

    began = time.monotonic()
    wanted = _wanted(Task(data, base, config, start), previous)
    with study.opened(wanted.plan) as held:
        _tell_missing(held.trials, {})
        while (done := len(held.trials)) < config.trials:
            _one(held, wanted.first[done] if done < len(wanted.first) else None, wanted.task)
        found = held.trials
    return _result(wanted.task, found, began, {"workers": 1})


def _wanted(task: Task, previous: SearchResult | None) -> Wanted:
    from components.study import Plan

    data, base, config, start = task
    try:
        check_space(base, config.space)
    except ValueError as error:
        raise ConfigError(f"search.space: {error}", "correct the path or its values") from error
    if not data.rows.get("val"):
        raise ConfigError(
            "a search compares validation rows, the prepared data have none",
            "give the data set a val split, or leave the search out",
        )
    name = _name(task, {"start": start, "previous": previous})
    pruner = trials.pruner(base, config)
    plan = Plan(name, config.space, config.seed, base.objective.direction, pruner)
    return Wanted(task, trials.first(base, config, previous), plan)


def _one(held: "Study", values: dict[str, Any] | None, task: Task) -> None:
    """Run one trial to its end, its stop or its failure, and record it."""
    began = time.monotonic()
    number, total = len(held.trials), task.config.trials
    here = workspace.current()
    trial = held.ask(values)

    def say(share: float, score: str) -> None:
        here.progress(number + share, total, f"trial {number + 1}: {score}")

    ended = trials.run(task, trial, None, say)
    held.tell(trial, ended.state, ended.value)
    _say(held.trials[number], round(time.monotonic() - began, 3))
    here.progress(number + 1, total, f"trial {number + 1}: {ended.state}")


def _take(study: "Shared", claimed: "Claimed", task: Task) -> None:
    """Run a trial, or the rest of it, to its end, and record it; others work on theirs."""
    from optuna.exceptions import UpdateFinishedTrialError

    here = workspace.current()
    label = f"trial {claimed.number + 1}"
    checkpoints = here.step / "trials" / claimed.checkpoints

    def say(share: float, text: str) -> None:
        here.progress(share, 1, f"{label}: {text}")

    say(0.0, "begins")
    try:
        if study.deadly(claimed, _place(claimed, checkpoints)):
            ended = trials.Ended("failed", None)
        else:
            ended = trials.run(task, claimed.trial, checkpoints, say)
        study.tell(claimed, ended.state, ended.value)
    except UpdateFinishedTrialError:  # our lock was lost with its server: another one ended it
        claimed.release()
        return
    shutil.rmtree(checkpoints, ignore_errors=True)
    say(1.0, ended.state)
    params = claimed.trial.params
    trial = Trial(number=claimed.number, state=ended.state, value=ended.value, params=params)
    _say(trial, round(time.monotonic() - claimed.began, 3))


def _place(claimed: "Claimed", checkpoints: Path) -> str:
    """How far a trial came: its last report and its last checkpoint."""
    kept = [path.stat() for path in checkpoints.glob("[!.]*")]
    newest = max((each.st_mtime_ns for each in kept), default=0)
    frozen = claimed.trial.storage.get_trial(claimed.trial._trial_id)
    return f"{len(frozen.intermediate_values)} {newest}"


def _worker() -> str:
    """Who works here: the host and the folder that is its own."""
    return f"{socket.gethostname()}/{workspace.current().folder.name}"


def _name(task: Task, others: dict[str, Record | None]) -> str:
    """The study of this step's key and inputs: another code or input is another study."""
    parts = {"data": task.data.digest, "base": task.base.digest, "config": task.config.digest}
    parts |= {role: one.digest for role, one in others.items() if one is not None}
    inputs = hashlib.sha256(canonical(parts)).hexdigest()
    return f"{workspace.current().step.name}-{inputs[:16]}"


def _result(
    task: Task, found: tuple[Trial, ...], began: float, facts: dict[str, Any]
) -> SearchResult:
    best = trials.best(found, task.base.objective.direction)
    return SearchResult(
        best=changed(task.base, best.params),
        value=best.value or 0.0,
        trials=found,
        made=Made(
            seconds=round(time.monotonic() - began, 3),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname(),
            facts=facts,
        ),
    )


def _say(trial: Trial, seconds: float) -> None:
    """Put a finished trial into the journal."""
    facts = {"state": trial.state, "value": trial.value, "params": trial.params}
    workspace.current().trial(trial.number, **facts, seconds=seconds)


def _tell_missing(finished: tuple[Trial, ...], seconds: dict[int, float]) -> None:
    """Say again what a kill kept from the journal: a trial recorded, but not yet said."""
    said = set()
    journal = workspace.current().journal
    if journal.is_file():
        for line in journal.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("kind") == "trial":
                said.add(entry["number"])
    for trial in finished:
        if trial.number not in said:
            _say(trial, seconds.get(trial.number, 0.0))

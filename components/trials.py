"""One trial of a search: its recipe, its training, and how it ended."""

import math
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError

from components.artifacts import Prepared, SearchResult, Trial, Weights
from components.errors import ConfigError, TrainingDiverged
from components.recipe import Recipe
from components.records import Record
from components.space import Values, changed, values_of

if TYPE_CHECKING:
    import optuna

    from components.study.drawing import State


class Pruning(Record):
    """Which trials are stopped early: those below the median of the others at the same epoch."""

    startup_trials: PositiveInt = 10
    """Complete trials before any is stopped."""
    warmup: float = Field(default=1 / 3, ge=0, le=1)
    """Share of a trial's epochs before it can be stopped."""
    min_trials: PositiveInt = 5
    """Trials that must have reached the same epoch."""


class SearchConfig(Record):
    """How many trials over which values, and what one trial may cost."""

    trials: PositiveInt
    space: dict[str, Values]
    """Dotted paths into the recipe, such as `optimizer.lr`."""
    seed: NonNegativeInt = 0
    pruning: Pruning | None = Pruning()
    """None: every trial runs to its end."""
    epochs: PositiveInt | None = None
    """Epochs of one trial, where they are fewer than the recipe's."""
    max_steps: PositiveInt | None = None
    """Optimizer steps of one trial."""
    warm_start: NonNegativeInt = 3
    """Best trials of the previous search that are tried first."""


class Task(NamedTuple):
    """What is searched."""

    data: Prepared
    base: Recipe
    config: SearchConfig
    start: Weights | None


class Ended(NamedTuple):
    """How a trial ended: only a complete one has a value that is compared."""

    state: "State"
    value: float | None


def run(
    task: Task, trial: "optuna.Trial", folder: Path | None, say: Callable[[float, str], None]
) -> Ended:
    """Train one trial to its end, its stop or its failure.

    `say` gets the share that is done and the last score. A trial with a folder goes on from its
    checkpoints there, and what it reported before counts.
    """
    base = task.base
    values = dict(trial.storage.get_trial(trial._trial_id).intermediate_values)
    state: State = "complete"
    try:
        recipe = trial_recipe(base, task.config, trial.params)
        with closing(_scores(task, recipe, folder)) as scores:
            for epoch, share, value in scores:
                if math.isfinite(value) and epoch not in values:
                    trial.report(value, epoch)
                say(share, f"val/{base.objective.metric} {value:.4f}")
                values[epoch] = value
                if not math.isfinite(value):
                    state = "failed"
                    break
                if trial.should_prune():
                    state = "pruned"
                    break
    except (TrainingDiverged, ConfigError, ValidationError) as error:
        state = "failed"
        trial.set_user_attr("athanor.error", str(error)[:500])
    better = max if base.objective.direction == "maximize" else min
    finite = [value for value in values.values() if math.isfinite(value)]
    if not finite:
        state = "failed"
    return Ended(state, better(finite) if state != "failed" else None)


class Score(NamedTuple):
    """The validation score of one epoch."""

    epoch: int
    share: float
    """Of the training that is done."""
    value: float


def _scores(task: Task, recipe: Recipe, folder: Path | None) -> Generator[Score]:
    """The score of each epoch; of a training that went on, the best one of all at its end.

    A kill between a checkpoint and the report of its epoch loses the report, not the score.
    """
    from components.training import session

    metric = f"val/{task.base.objective.metric}"
    for progress in session.run(task.data, recipe, start=task.start, folder=folder):
        share = progress.step / progress.total_steps
        if metric in progress.metrics:
            yield Score(progress.epoch, share, progress.metrics[metric])
        if folder is not None and progress.outcome and metric in progress.outcome.scores:
            yield Score(progress.epoch, share, progress.outcome.scores[metric])


def trial_recipe(base: Recipe, config: SearchConfig, params: dict[str, Any]) -> Recipe:
    """The recipe of one trial: other values, and no more than a trial's budget.

    Raises:
        ValidationError: the values do not make a recipe together.
    """
    recipe = changed(base, params)
    budget = recipe.budget
    limits = {
        "epochs": min(budget.epochs, config.epochs or budget.epochs),
        "max_steps": min(filter(None, (budget.max_steps, config.max_steps)), default=None),
    }
    return recipe.model_copy(update={"budget": budget.model_copy(update=limits)})


def pruner(base: Recipe, config: SearchConfig) -> "optuna.pruners.BasePruner":
    """Who stops trials early."""
    from components import study

    if config.pruning is None:
        return study.no_pruner()
    epochs = min(base.budget.epochs, config.epochs or base.budget.epochs)
    warmup = math.ceil(epochs * config.pruning.warmup)
    return study.pruner(config.pruning.startup_trials, warmup, config.pruning.min_trials)


def first(
    base: Recipe, config: SearchConfig, previous: SearchResult | None
) -> list[dict[str, Any]]:
    """What is tried before anything is drawn: the base's values, then the best known ones."""
    wanted = [values_of(base, config.space)]
    if previous is not None:
        complete = [trial for trial in previous.trials if trial.state == "complete"]
        sign = -1 if base.objective.direction == "maximize" else 1
        ranked = sorted(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))
        for trial in ranked[: config.warm_start]:
            inside = trial.params.keys() == config.space.keys() and all(
                values.holds(trial.params[path]) for path, values in config.space.items()
            )
            wanted.append(trial.params if inside else None)
    found: list[dict[str, Any]] = []
    for params in wanted:
        if params is not None and params not in found:
            found.append(params)
    return found


def best(trials: tuple[Trial, ...], direction: str) -> Trial:
    """The complete trial of the best value, of equals the first.

    Raises:
        TrainingDiverged: there is none.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        raise TrainingDiverged(
            f"none of {len(trials)} trials came to an end",
            "narrow search.space: lower the highest optimizer.lr",
        )
    sign = 1 if direction == "maximize" else -1
    return max(complete, key=lambda trial: (sign * (trial.value or 0.0), -trial.number))

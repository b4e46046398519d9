"""Search: the recipe whose values did best on validation rows."""

import hashlib
import json
import math
import socket
import time
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError

from components import workspace
from components.artifacts import Made, Prepared, SearchResult, Trial, Weights
from components.errors import ConfigError, TrainingDiverged
from components.files import canonical
from components.recipe import Recipe
from components.records import Record
from components.space import Values, changed, check_space, values_of

if TYPE_CHECKING:
    import optuna

    from components.study import Study

__all__ = ["SearchConfig", "Values", "check_space", "search"]


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
    try:
        check_space(base, config.space)
    except ValueError as error:
        raise ConfigError(f"search.space: {error}", "correct the path or its values") from error
    if not data.rows.get("val"):
        raise ConfigError(
            "a search compares validation rows, the prepared data have none",
            "give the data set a val split, or leave the search out",
        )
    first = _first(base, config, previous)
    pruner = _pruner(base, config)
    name = _name(data, base, config, {"start": start, "previous": previous})
    direction = base.objective.direction
    with study.opened(name, config.space, config.seed, direction, pruner) as held:
        _tell_missing(held.trials)
        while (done := len(held.trials)) < config.trials:
            wanted = first[done] if done < len(first) else None
            _one(held, wanted, (data, base, config, start))
        trials = held.trials
    best = _best(trials, direction)
    return SearchResult(
        best=changed(base, best.params),
        value=best.value or 0.0,
        trials=trials,
        made=Made(
            seconds=round(time.monotonic() - began, 3),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname(),
        ),
    )


def _one(
    held: "Study",
    wanted: dict[str, Any] | None,
    task: tuple[Prepared, Recipe, SearchConfig, Weights | None],
) -> None:
    """Run one trial to its end, its stop or its failure, and record it."""
    base, config = task[1], task[2]
    began = time.monotonic()
    number = len(held.trials)
    trial = held.ask(wanted)
    values: list[float] = []
    try:
        recipe = trial_recipe(base, config, trial.params)
        state = "complete"
        with closing(_train(trial, task, recipe, number)) as scores:
            for value in scores:
                values.append(value)
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
    finite = [value for value in values if math.isfinite(value)]
    if state == "complete" and not finite:
        state = "failed"
    held.tell(trial, state, better(finite) if finite and state != "failed" else None)
    _say(held.trials[number], round(time.monotonic() - began, 3))
    workspace.current().progress(number + 1, config.trials, f"trial {number + 1}: {state}")


def _train(
    trial: "optuna.Trial",
    task: tuple[Prepared, Recipe, SearchConfig, Weights | None],
    recipe: Recipe,
    number: int,
) -> Generator[float]:
    """The validation score of each epoch, reported to the study."""
    from components.training import session

    data, base, config, start = task
    metric = f"val/{base.objective.metric}"
    here = workspace.current()
    for progress in session.run(data, recipe, start=start):
        if metric in progress.metrics:
            value = progress.metrics[metric]
            if math.isfinite(value):
                trial.report(value, progress.epoch)
            done = number + progress.step / progress.total_steps
            here.progress(done, config.trials, f"trial {number + 1}: {metric} {value:.4f}")
            yield value


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


def _pruner(base: Recipe, config: SearchConfig) -> "optuna.pruners.BasePruner":
    from components import study

    if config.pruning is None:
        return study.no_pruner()
    epochs = min(base.budget.epochs, config.epochs or base.budget.epochs)
    warmup = math.ceil(epochs * config.pruning.warmup)
    return study.pruner(config.pruning.startup_trials, warmup, config.pruning.min_trials)


def _first(
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


def _name(
    data: Prepared, base: Recipe, config: SearchConfig, others: dict[str, Record | None]
) -> str:
    """The study of this step's key and inputs: another code or input is another study."""
    parts = {"data": data.digest, "base": base.digest, "config": config.digest}
    parts |= {role: one.digest for role, one in others.items() if one is not None}
    inputs = hashlib.sha256(canonical(parts)).hexdigest()
    return f"{workspace.current().folder.name}-{inputs[:16]}"


def _best(trials: tuple[Trial, ...], direction: str) -> Trial:
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        raise TrainingDiverged(
            f"none of {len(trials)} trials came to an end",
            "narrow search.space: lower the highest optimizer.lr",
        )
    sign = 1 if direction == "maximize" else -1
    return max(complete, key=lambda trial: (sign * (trial.value or 0.0), -trial.number))


def _say(trial: Trial, seconds: float) -> None:
    """Put a finished trial into the journal."""
    facts = {"state": trial.state, "value": trial.value, "params": trial.params}
    workspace.current().trial(trial.number, **facts, seconds=seconds)


def _tell_missing(trials: tuple[Trial, ...]) -> None:
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
    for trial in trials:
        if trial.number not in said:
            _say(trial, 0.0)

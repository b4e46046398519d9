"""A whole training of prepared data by a recipe, as an iterator of its progress."""

from collections.abc import Iterator
from pathlib import Path

import torch

from components import objects
from components.architectures.branches import Branches
from components.artifacts import Prepared, TrainedModel, Weights
from components.batches.examples import Examples
from components.errors import ConfigError
from components.recipe import Recipe
from components.training import determinism, weights
from components.training.checkpoint import Checkpoints
from components.training.loop import Progress, Task, fit
from components.training.precision import resolve


def run(
    data: Prepared,
    recipe: Recipe,
    *,
    start: Weights | None = None,
    teacher: TrainedModel | None = None,
    folder: Path | None = None,
) -> Iterator[Progress]:
    """Progress of every optimizer step; the last one carries tensors and scores.

    `start` hands over its backbone, `teacher` guides; checkpoints go to `folder`, and a training
    that was killed there goes on. Whoever stops iterating stops the training.

    Raises:
        ConfigError: recipe, data, start and teacher do not fit each other.
        TrainingDiverged: the loss is no longer finite.
    """
    recipe = settle(recipe)
    _check(data, recipe, teacher)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with determinism.settled(recipe.threads, recipe.seed):
        try:
            model = weights.fresh(recipe, data.spec)
        except ValueError as error:
            raise ConfigError(f"recipe: {error}", "change the recipe or the data") from error
        if start is not None:
            weights.hand_over(model, start, recipe.objective.kind)
        task = _task(data, recipe, teacher, device)
        checkpoints = None
        if folder is not None:
            identity = _identity(data, recipe, {"start": start, "teacher": teacher})
            checkpoints = Checkpoints(folder, identity | {"device": device.type})
        yield from fit(model.to(device), task, checkpoints)


def settle(recipe: Recipe) -> Recipe:
    """The recipe with nothing left to the machine."""
    return recipe.model_copy(update={"precision": resolve(recipe.precision)})


def _check(data: Prepared, recipe: Recipe, teacher: TrainedModel | None) -> None:
    reads = recipe.objective.reads
    if f"{reads}.safetensors" not in data.files:
        raise ConfigError(
            f"{recipe.objective.kind} trains on {reads} rows, the prepared data have none",
            "name a data set with unlabelled rows, or leave pretraining out",
        )
    portions = recipe.budget.accumulate
    if portions > 1 and recipe.objective.compares_rows:
        raise ConfigError(
            f"{recipe.objective.kind} compares the rows of a batch with each other, and "
            f"budget.accumulate cuts it into {portions} portions",
            "set budget.accumulate: 1, and train this step by one process",
        )
    factors, architecture = recipe.optimizer.branch_lr, recipe.architecture
    branches = architecture.branches if isinstance(architecture, Branches) else ()
    if factors and len(factors) != len(branches):
        raise ConfigError(
            f"optimizer.branch_lr has {len(factors)} factors, the architecture "
            f"{architecture.kind} has {len(branches)} branches",
            "give one factor per branch, or none",
        )
    if (teacher is None) != (recipe.guidance is None):
        given = "a teacher but no guidance" if teacher else "guidance but no teacher"
        raise ConfigError(f"the training has {given}", "give both or neither")
    if teacher is not None and recipe.objective.kind != teacher.recipe.objective.kind:
        raise ConfigError(
            f"a {teacher.recipe.objective.kind} teacher cannot guide {recipe.objective.kind}",
            "give a teacher that was trained for the same objective",
        )
    if teacher is not None and teacher.spec.labels != data.spec.labels:
        raise ConfigError(
            f"the teacher knows labels {list(teacher.spec.labels)}, the data have "
            f"{list(data.spec.labels)}",
            "give a teacher of the same labels",
        )


def _task(
    data: Prepared, recipe: Recipe, teacher: TrainedModel | None, device: torch.device
) -> Task:
    train = _examples(data, recipe.objective.reads)
    if not len(train):
        raise ConfigError(f"there are no {recipe.objective.reads} rows", "check the data set")
    validation = _examples(data, "val") if "val.safetensors" in data.files else None
    taught = None
    if teacher is not None:
        taught = weights.logits(weights.load(teacher).to(device), train)
    return Task(recipe, data.spec, train, validation or None, taught)


def _examples(data: Prepared, split: str) -> Examples:
    return Examples.load(objects.path(data.files[f"{split}.safetensors"]), data.spec)


def _identity(data: Prepared, recipe: Recipe, parents: dict[str, Weights | None]) -> dict[str, str]:
    return {
        "data": data.digest,
        "recipe": recipe.digest,
        "threads": str(recipe.threads),
        "torch": torch.__version__,
        **{role: parent.digest for role, parent in parents.items() if parent is not None},
    }

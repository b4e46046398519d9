"""Train a model: pretraining, fine-tuning, recovery and distillation are this one function."""

from components.artifacts import Prepared, TrainedModel, Weights
from components.recipe import Recipe


def train(
    data: Prepared,
    recipe: Recipe,
    *,
    start: Weights | None = None,
    teacher: TrainedModel | None = None,
) -> TrainedModel:
    """The weights that a recipe makes of prepared data.

    `start` hands over its backbone, and its head where it was trained for the same kind of
    objective; `teacher` guides, as `recipe.guidance` says. Killed and started again, it goes on
    from its last checkpoint and ends at the same bits.

    Raises:
        ConfigError: recipe, data, start and teacher do not fit each other.
        TrainingDiverged: the loss is no longer finite.
    """
    from components.training.trained import trained
    from components.workspace import current

    return trained(data, recipe, current().folder / "checkpoints", start=start, teacher=teacher)

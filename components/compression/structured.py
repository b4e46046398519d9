"""Whole channels removed from a convolutional network, then a recovery training."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from components.artifacts import TrainedModel
from components.compression import Bench, Compression
from components.errors import UsageError
from components.recipe import Budget, Guidance

if TYPE_CHECKING:
    from components.layers.backbone import Model


class Structured(Compression):
    """The weakest channels go by the norm of their weights; the result is a plain, smaller `cnn`.

    Straight after pruning most of the accuracy is gone: the recovery, guided by the unpruned
    model, is part of the method.
    """

    source: ClassVar[str] = "Fang et al., arXiv:2301.12900 (DepGraph, by torch-pruning)"
    works_on: ClassVar[Literal["model", "graph"]] = "model"

    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the channels of every block that goes."""
    multiple: PositiveInt = 8
    """Widths are rounded to multiples of this: kernels work in eights."""
    recovery: Budget = Budget(epochs=4)
    guidance: Guidance = Guidance()
    lr: PositiveFloat | None = None
    """Of the recovery; None: the recipe's own."""

    def model(self, candidate: TrainedModel, bench: Bench) -> TrainedModel:
        """The pruned and recovered network.

        Raises:
            UsageError: the candidate is no `cnn`, or nothing could be removed.
        """
        from components import objects
        from components.architectures.cnn import Cnn
        from components.training import weights

        if not isinstance(candidate.architecture, Cnn):
            raise UsageError(
                f"structured prunes cnn, not {candidate.architecture.kind}",
                "take distillation to a smaller student instead",
            )
        model = weights.load(candidate)
        before = candidate.architecture.channels
        self._prune(model, candidate)
        channels = _widths(model)
        if channels == before:
            raise UsageError(
                f"structured with ratio {self.ratio} and multiple {self.multiple} removes nothing "
                f"from channels {list(before)}",
                "raise the ratio or lower the multiple",
            )
        architecture = candidate.architecture.model_copy(update={"channels": channels})
        file = bench.folder / weights.FILE
        weights.save(model.state_dict(), file)
        recipe = candidate.recipe.model_copy(update={"architecture": architecture})
        pruned = TrainedModel(
            architecture=architecture,
            spec=candidate.spec,
            files={weights.FILE: objects.put(file)},
            parents={"start": candidate.digest},
            recipe=recipe,
        )
        optimizer = recipe.optimizer.model_copy(update={"lr": self.lr or recipe.optimizer.lr})
        changes = {"optimizer": optimizer, "budget": self.recovery, "guidance": self.guidance}
        return bench.train(recipe.model_copy(update=changes), start=pruned, teacher=candidate)

    def _prune(self, model: "Model", candidate: TrainedModel) -> None:
        """Take the channels out of the module in place."""
        import torch_pruning

        from components.export.graph import example

        pruner = torch_pruning.pruner.BasePruner(
            model,
            example(candidate.spec.inputs[0], candidate.spec),
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=self.ratio,
            round_to=self.multiple,
            ignored_layers=list(model.head.children()),
        )
        pruner.step()


def _widths(model: "Model") -> tuple[int, ...]:
    """Output channels of every convolution, in order."""
    from torch.nn import Conv2d

    return tuple(part.out_channels for part in model.modules() if isinstance(part, Conv2d))

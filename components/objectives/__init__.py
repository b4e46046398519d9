"""Family: what a training tries to reach. One file is one objective."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, PositiveFloat

from components.architectures import Gives
from components.options import Option
from components.records import Record
from components.spec import DataSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.layers.backbone import Encoded

Arrays = dict[str, np.ndarray]
"""A named batch: one array per name, first axis the examples."""


class Guidance(Record):
    """How a student listens to its teacher (Hinton et al., arXiv:1503.02531)."""

    alpha: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Share of the teacher's soft labels in the loss."""
    temperature: PositiveFloat = 3.0


class Softening(NamedTuple):
    """What takes the edge off hard labels in a training loss."""

    label_smoothing: float = 0.0
    guidance: Guidance | None = None
    """The batch holds `teacher_logits` where this is given."""


HARD = Softening()


class Objective(Option):
    """Head, loss and rows of a task; names its metric and the test that compares two models."""

    family: ClassVar[str] = __name__
    metric: ClassVar[str]
    """Primary metric, such as `accuracy` or `loss`."""
    direction: ClassVar[Literal["maximize", "minimize"]]
    unit: ClassVar[str] = "example"
    """What is resampled for an interval: an example, a document, a person, a query."""
    test: ClassVar[Literal["mcnemar", "bootstrap"]] = "bootstrap"
    """The paired test of two models on the same units."""
    reads: ClassVar[Literal["train", "pretrain"]] = "train"
    """Which rows train it; validation reads `val` in both cases."""
    compares_rows: ClassVar[bool] = False
    """Whether its loss compares rows of a batch with each other, which then cannot be cut."""

    @abstractmethod
    def check(self, gives: Gives, spec: DataSpec) -> None:
        """Refuse a backbone or data that this objective cannot work with.

        Raises:
            ValueError: what is missing.
        """

    @abstractmethod
    def head(self, gives: Gives, spec: DataSpec) -> "nn.Module":
        """The module from `Encoded` to the model's output tensor."""

    def arrange(self, batch: Arrays, spec: DataSpec, rng: np.random.Generator) -> Arrays:
        """The batch as the loss wants it, for example with tokens masked; chance comes from rng."""
        return batch

    @abstractmethod
    def loss(
        self,
        encoded: "Encoded",
        head: "nn.Module",
        batch: "dict[str, Tensor]",
        softening: Softening = HARD,
    ) -> "tuple[Tensor, int]":
        """Sum of the losses and number of terms: the loop divides by the global count."""

    def scores(
        self, encoded: "Encoded", head: "nn.Module", batch: "dict[str, Tensor]"
    ) -> "dict[str, tuple[Tensor, int]]":
        """Sum and count of each metric on a batch, `loss` against hard labels among them."""
        return {"loss": self.loss(encoded, head, batch)}

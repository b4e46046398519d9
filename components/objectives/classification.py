"""One label per row."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from pydantic import Field

from components.architectures import Gives
from components.objectives import HARD, Objective, Softening
from components.spec import DataSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.layers.backbone import Encoded
    from components.layers.heads import BranchClassifier


class Classification(Objective):
    """Cross-entropy over the labels.

    A backbone of several branches gets one linear layer per branch; the answer is the mean of
    their logits, and the loss is the mean of every branch's own and the answer's, so that no
    branch can rest while another one learns.
    """

    metric: ClassVar[str] = "accuracy"
    direction: ClassVar[Literal["maximize", "minimize"]] = "maximize"
    test: ClassVar[Literal["mcnemar", "bootstrap"]] = "mcnemar"

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Of the pooled vectors."""

    def check(self, gives: Gives, spec: DataSpec) -> None:
        if len(spec.labels) < 2:
            raise ValueError(
                f"classification needs at least two labels, the data have {list(spec.labels)}"
            )
        if not gives.pooled:
            raise ValueError("classification needs a pooled vector, this architecture gives none")

    def head(self, gives: Gives, spec: DataSpec) -> "nn.Module":
        from components.layers.heads import BranchClassifier

        return BranchClassifier(gives.pooled, len(spec.labels), self.dropout)

    def loss(
        self,
        encoded: "Encoded",
        head: "nn.Module",
        batch: "dict[str, Tensor]",
        softening: Softening = HARD,
    ) -> "tuple[Tensor, int]":
        from components.layers.heads import middle

        branches, rows = cast("BranchClassifier", head).each(encoded), len(batch["label"])
        if len(branches) == 1:
            return self._one(branches[0], batch, softening), rows
        answers = [middle(branches), *branches]
        losses = [self._one(logits, batch, softening) for logits in answers]
        return middle(losses), rows

    def _one(self, logits: "Tensor", batch: "dict[str, Tensor]", softening: Softening) -> "Tensor":
        from components.layers.losses import cross_entropy, divergence

        smoothing, guidance = softening
        if guidance is None:
            return cross_entropy(logits, batch["label"], smoothing)
        soft = divergence(logits, batch["teacher_logits"], guidance.temperature)
        if guidance.alpha == 1:
            return soft
        hard = cross_entropy(logits, batch["label"], smoothing)
        return (1 - guidance.alpha) * hard + guidance.alpha * soft

    def scores(
        self, encoded: "Encoded", head: "nn.Module", batch: "dict[str, Tensor]"
    ) -> "dict[str, tuple[Tensor, int]]":
        """Of the answer alone: a branch's own loss is a means, not an end."""
        from components.layers.losses import cross_entropy

        logits, label = head(encoded), batch["label"]
        right = (logits.argmax(-1) == label).sum()
        return {
            "loss": (cross_entropy(logits, label, 0.0), len(label)),
            "accuracy": (right, len(label)),
        }

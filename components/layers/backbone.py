"""What a backbone hands to a head, and the two together as one model."""

from collections.abc import Callable
from typing import NamedTuple, Self, TypeVar

from torch import Tensor, nn

from components.spec import DataSpec

T = TypeVar("T")


T = TypeVar("T")


class Encoded(NamedTuple):
    """A batch as a backbone sees it."""

    states: Tensor | None
    """(batch, length, width) per token; None where there are no tokens."""
    pooled: tuple[Tensor, ...]
    """(batch, width) per branch."""
    mask: Tensor | None
    """(batch, length), True where there is a token and no padding."""
    embedding: Tensor | None = None
    """(vocabulary, embedding width): the table that read the tokens, for heads that share it."""

    def per_token(self) -> Tensor:
        """The states, of a backbone that said it has them.

        Raises:
            ValueError: it has none.
        """
        if self.states is None:
            raise ValueError("this backbone gives no states per token")
        return self.states


class Backbone(nn.Module):
    """A network without its head: `forward` takes the arrays of `DataSpec.inputs` by name."""

    def forward(self, **inputs: Tensor) -> Encoded:
        """The encoded batch."""
        raise NotImplementedError


class Model(nn.Module):
    """A backbone and its head; tensors are named `backbone.*` and `head.*`."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def inside(self, work: Callable[[Self], T]) -> T:
        """What work makes of this model; where ranks share its tensors, they are whole inside."""
        return work(self)


class TextModel(Model):
    """A model that reads token ids."""

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of `ids` (batch, length), 0 where padded."""
        return self.head(self.backbone(ids=ids))


class ImageModel(Model):
    """A model that reads pixels."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of `pixels` (batch, 1, height, width), 0 to 255."""
        return self.head(self.backbone(pixels=pixels))


def assemble(backbone: Backbone, head: nn.Module, spec: DataSpec) -> Model:
    """The model for this modality; the argument of its `forward` has the graph input's name."""
    return TextModel(backbone, head) if spec.modality == "text" else ImageModel(backbone, head)

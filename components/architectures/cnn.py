"""A convolutional network over small grey images."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from components.architectures import Architecture, Gives
from components.spec import DataSpec

if TYPE_CHECKING:
    from components.layers.backbone import Backbone


class Cnn(Architecture):
    """Blocks of 3 x 3 convolution, batch norm and ReLU; the image is halved after the first ones.

    The widths are data: a pruned network is again a plain `cnn` with other `channels`.
    """

    source: ClassVar[str] = "Simonyan & Zisserman, arXiv:1409.1556; batch norm: arXiv:1502.03167"

    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (16, 32, 64, 128)
    halvings: Annotated[int, Field(ge=0, le=5)] = 2
    """Blocks after which the image is halved, counted from the first."""
    pooling: Literal["global", "grid"] = "grid"
    """`grid`: the means of four quarters; `global`: the mean of all."""

    def gives(self, spec: DataSpec) -> Gives:
        if spec.modality != "image":
            raise ValueError(f"cnn reads images, the data are {spec.modality}")
        sides = [side for side in spec.inputs[0].shape[-2:] if isinstance(side, int)]
        smallest = 2 ** (min(self.halvings, len(self.channels)) + 1)
        if len(sides) != 2 or min(sides) < smallest:
            raise ValueError(
                f"cnn with {self.halvings} halvings needs sides of at least {smallest} pixels, "
                f"the data have {list(spec.inputs[0].shape[-2:])}"
            )
        quarters = 4 if self.pooling == "grid" else 1
        return Gives(states=None, pooled=(quarters * self.channels[-1],))

    def build(self, spec: DataSpec) -> "Backbone":
        from components.layers.convolution import Convolutions

        return Convolutions(self.channels, self.halvings, self.pooling, spec.mean, spec.std)

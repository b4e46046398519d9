"""Convolutions with batch norm for small grey images."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.layers.backbone import Backbone, Encoded

Pooling = Literal["global", "grid"]


class Block(nn.Module):
    """3 x 3 convolution, batch norm, ReLU."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inward, outward, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outward)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, channels, height, width)."""
        return functional.relu(self.norm(self.convolution(pixels)))


class Convolutions(Backbone):
    """Blocks of 3 x 3 convolutions, the image halved after the first ones, then pooled."""

    def __init__(
        self, channels: tuple[int, ...], halvings: int, pool: Pooling, mean: float, std: float
    ) -> None:
        super().__init__()
        self.halvings, self.pool, self.mean, self.std = halvings, pool, mean, std
        inward = (1, *channels[:-1])
        self.blocks = nn.ModuleList([Block(i, o) for i, o in zip(inward, channels, strict=True)])
        self.to(memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]

    def forward(self, pixels: Tensor) -> Encoded:  # type: ignore[override]
        """pixels: (batch, 1, height, width), 0 to 255."""
        image = (pixels - self.mean) / self.std
        if not (torch.compiler.is_exporting() or torch.jit.is_tracing()):
            image = image.contiguous(memory_format=torch.channels_last)
        for number, block in enumerate(self.blocks):
            image = block(image)
            if number < self.halvings:
                image = functional.max_pool2d(image, 2)
        return Encoded(None, (self._pooled(image),), None)

    def _pooled(self, image: Tensor) -> Tensor:
        if self.pool == "global":
            return image.mean((2, 3))
        # Numbers, not traced values: a graph's average pooling has a fixed window.
        height, width = map(int, image.shape[-2:])
        quarters = functional.avg_pool2d(
            image, (-(-height // 2), -(-width // 2)), (max(height // 2, 1), max(width // 2, 1))
        )
        return quarters.flatten(1)

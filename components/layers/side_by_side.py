"""Several backbones that read the same input."""

from torch import Tensor, nn

from components.layers.backbone import Backbone, Encoded


class SideBySide(Backbone):
    """States of the first branch that has them, pooled vectors of all."""

    def __init__(self, branches: list[Backbone]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, **inputs: Tensor) -> Encoded:
        """Every branch gets every input."""
        parts = [branch(**inputs) for branch in self.branches]
        deep = next((part for part in parts if part.states is not None), parts[0])
        pooled = tuple(vector for part in parts for vector in part.pooled)
        return Encoded(deep.states, pooled, deep.mask, deep.embedding)

"""Several architectures that read the same rows side by side."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from components.architectures import Architecture, Gives
from components.spec import DataSpec

if TYPE_CHECKING:
    from components.layers.backbone import Backbone


class Branches(Architecture):
    """States of the first branch that has them, a pooled vector of each."""

    source: ClassVar[str] = "Cheng et al., arXiv:1606.07792 (wide beside deep)"

    branches: Annotated[tuple[Architecture, ...], Field(min_length=1)]

    def gives(self, spec: DataSpec) -> Gives:
        parts = [branch.gives(spec) for branch in self.branches]
        deep = next((part for part in parts if part.states is not None), parts[0])
        pooled = tuple(width for part in parts for width in part.pooled)
        return Gives(states=deep.states, pooled=pooled, embedding=deep.embedding)

    def build(self, spec: DataSpec) -> "Backbone":
        from components.layers.side_by_side import SideBySide

        return SideBySide([branch.build(spec) for branch in self.branches])

"""A bag of hashed character n-grams: the wide network beside a deep one."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from components.architectures import Architecture, Gives
from components.spec import DataSpec

if TYPE_CHECKING:
    from components.layers.backbone import Backbone


class Ngrams(Architecture):
    """A vector per hashed n-gram of 1 to `longest` tokens, pooled over the row."""

    source: ClassVar[str] = "Joulin et al., arXiv:1607.01759 (hashed n-grams, section 2.2)"

    longest: Annotated[int, Field(ge=1, le=5)] = 3
    """Tokens of the longest n-gram."""
    buckets: Annotated[int, Field(ge=2)] = 65_536
    """Rows of the table of each size of n-gram; single tokens have a table of their own length."""
    width: PositiveInt = 64
    pooling: Literal["mean_maximum", "mean", "root", "unit"] = "mean_maximum"
    """`root`: the sum over the root of the length; `unit`: the sum brought to length 1."""

    def gives(self, spec: DataSpec) -> Gives:
        if spec.modality != "text":
            raise ValueError(f"ngrams reads text, the data are {spec.modality}")
        return Gives(
            states=None, pooled=((2 if self.pooling == "mean_maximum" else 1) * self.width,)
        )

    def build(self, spec: DataSpec) -> "Backbone":
        from components.layers.bag import Bag

        rows = (spec.vocabulary_size, *[self.buckets] * (self.longest - 1))
        return Bag(rows, self.width, self.pooling)

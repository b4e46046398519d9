"""A transformer encoder over tokens."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from components.architectures import Architecture, Gives
from components.spec import DataSpec

if TYPE_CHECKING:
    from components.layers.backbone import Backbone


class Encoder(Architecture):
    """Pre-norm transformer encoder; the pooled vector is the mean beside the maximum."""

    source: ClassVar[str] = "Devlin et al., arXiv:1810.04805; pre-norm: arXiv:2002.04745"

    width: PositiveInt = 128
    layers: PositiveInt = 2
    heads: PositiveInt = 4
    head_width: PositiveInt | None = None
    """None: width / heads."""
    feedforward: PositiveInt | None = None
    """Width inside the feed-forward nets; None: four times the width."""
    embedding_width: PositiveInt | None = None
    """Width of the token tables, widened by one matrix; None: the width itself."""
    ngram_buckets: NonNegativeInt = 0
    """Rows of the table of hashed 2-grams; 0: none."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def gives(self, spec: DataSpec) -> Gives:
        if spec.modality != "text":
            raise ValueError(f"encoder reads text, the data are {spec.modality}")
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"encoder: width {self.width} is no multiple of heads {self.heads}")
        return Gives(
            states=self.width,
            pooled=(2 * self.width,),
            embedding=self.embedding_width or self.width,
        )

    def build(self, spec: DataSpec) -> "Backbone":
        from components.layers.tokens import TokenEmbedding
        from components.layers.transformer import Layer, Transformer

        narrow = self.embedding_width or self.width
        head_width = self.head_width or self.width // self.heads
        feedforward = self.feedforward or 4 * self.width
        embedding = TokenEmbedding(spec.vocabulary_size, narrow, self.width, self.ngram_buckets)
        layers = [
            Layer(self.width, self.heads, head_width, feedforward, self.dropout)
            for _ in range(self.layers)
        ]
        return Transformer(embedding, layers, spec.max_length, self.width, self.dropout)

"""Vectors of tokens: a table, optionally narrower than the network and joined by 2-grams."""

from torch import Tensor, nn

from components.layers.ngrams import buckets


class TokenEmbedding(nn.Module):
    """A table of vectors by token id, plus one by hashed 2-gram where `ngram_buckets` is not 0.

    Tables narrower than the network are widened by one matrix (factorised embedding, Lan et al.,
    arXiv:1909.11942, section 3.1).
    """

    def __init__(self, vocabulary: int, narrow: int, width: int, ngram_buckets: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, narrow)
        nn.init.normal_(self.table.weight, std=0.05)
        self.pairs = nn.Embedding(ngram_buckets, narrow) if ngram_buckets else None
        if self.pairs is not None:
            nn.init.normal_(self.pairs.weight, std=0.05)
        self.widen = nn.Linear(narrow, width, bias=False) if narrow != width else nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        """(batch, length, width)."""
        found = self.table(ids)
        if self.pairs is not None:
            found = found + self.pairs(buckets(ids, 2, self.pairs.num_embeddings))
        return self.widen(found)

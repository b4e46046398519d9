"""A bag of hashed n-grams: no order beyond the n-gram, and nothing deep."""

from typing import Literal

import torch
from torch import Tensor, nn

from components.layers import pooling
from components.layers.backbone import Backbone, Encoded
from components.layers.ngrams import buckets
from components.spec import PAD

Pooling = Literal["mean_maximum", "mean", "root", "unit"]


class Bag(Backbone):
    """One table per n-gram size, looked up at every place, added up and pooled.

    `rows` are the rows of the tables for 1, 2, ... tokens; the first is read by token id, the
    others by hash.
    """

    def __init__(self, rows: tuple[int, ...], width: int, pool: Pooling) -> None:
        super().__init__()
        self.rows, self.pool = rows, pool
        tables = [nn.Embedding(number, width) for number in rows]
        for table in tables:
            nn.init.normal_(table.weight, std=0.05)
        self.tables = nn.ModuleList(tables)

    def forward(self, ids: Tensor) -> Encoded:  # type: ignore[override]
        """ids: (batch, length) int64, 0 where padded."""
        mask = ids != PAD
        states = self.tables[0](ids)
        for size in range(2, len(self.rows) + 1):
            table = self.tables[size - 1]
            states = states + table(buckets(ids, size, self.rows[size - 1]))
        return Encoded(None, (self._pooled(states, mask),), mask)

    def _pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.pool == "unit":
            return pooling.unit(states, mask)
        if self.pool == "root":
            return pooling.root(states, mask)
        if self.pool == "mean":
            return pooling.mean(states, mask)
        return torch.cat([pooling.mean(states, mask), pooling.maximum(states, mask)], -1)

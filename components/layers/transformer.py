"""A transformer encoder with the norm before each part (Xiong et al., arXiv:2002.04745)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.layers import pooling
from components.layers.attention import attention, hidden_keys
from components.layers.backbone import Backbone, Encoded
from components.layers.tokens import TokenEmbedding
from components.spec import PAD


class Layer(nn.Module):
    """Self-attention and a feed-forward net, each added to what it read."""

    def __init__(
        self, width: int, heads: int, head_width: int, feedforward: int, dropout: float
    ) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * heads * head_width)
        self.output = nn.Linear(heads * head_width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, feedforward)
        self.down = nn.Linear(feedforward, width)
        self.dropout = dropout

    def forward(self, states: Tensor, bias: Tensor) -> Tensor:
        """(batch, length, width) -> the same; bias as `attention` wants it."""
        states = states + self._drop(self._attend(self.attention_norm(states), bias))
        hidden = functional.gelu(self.up(self.feedforward_norm(states)))
        return states + self._drop(self.down(hidden))

    def _attend(self, states: Tensor, bias: Tensor) -> Tensor:
        batch, length, _ = states.shape
        parts = self.query_key_value(states).view(batch, length, 3, self.heads, self.head_width)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        found = attention(query, key, value, bias).transpose(1, 2)
        return self.output(found.reshape(batch, length, self.heads * self.head_width))

    def _drop(self, states: Tensor) -> Tensor:
        return functional.dropout(states, self.dropout, self.training)


class Transformer(Backbone):
    """Tokens with learned positions through layers; the pooled vector is mean beside maximum."""

    def __init__(
        self,
        embedding: TokenEmbedding,
        layers: list[Layer],
        longest: int,
        width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.embedding = embedding
        self.positions = nn.Embedding(longest, width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor) -> Encoded:  # type: ignore[override]
        """ids: (batch, length) int64, 0 where padded."""
        mask = ids != PAD
        states = self.embedding(ids) + self.positions.weight[: ids.shape[1]]
        states = functional.dropout(states, self.dropout, self.training)
        bias = hidden_keys(mask, states.dtype)
        for layer in self.layers:
            states = layer(states, bias)
        states = self.norm(states)
        pooled = torch.cat([pooling.mean(states, mask), pooling.maximum(states, mask)], -1)
        return Encoded(states, (pooled,), mask, self.embedding.table.weight)

"""Heads: from an encoded batch to the model's output."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.layers.backbone import Encoded


class BranchClassifier(nn.Module):
    """One linear layer per branch; the logits are the mean over the branches."""

    def __init__(self, widths: tuple[int, ...], labels: int, dropout: float) -> None:
        super().__init__()
        self.outputs = nn.ModuleList([nn.Linear(width, labels) for width in widths])
        self.dropout = dropout

    def each(self, encoded: Encoded) -> list[Tensor]:
        """(batch, labels) of every branch by itself."""
        return [
            output(functional.dropout(vector, self.dropout, self.training))
            for output, vector in zip(self.outputs, encoded.pooled, strict=True)
        ]

    def forward(self, encoded: Encoded) -> Tensor:
        """(batch, labels)."""
        return middle(self.each(encoded))


def middle(parts: list[Tensor]) -> Tensor:
    """The mean of several tensors of one shape."""
    return parts[0] if len(parts) == 1 else sum(parts[1:], parts[0]) / len(parts)


class Vocabulary(nn.Module):
    """Logits over the vocabulary."""

    def logits(self, states: Tensor, embedding: Tensor | None) -> Tensor:
        """(rows, vocabulary) of states (rows, width); the table is the backbone's."""
        raise NotImplementedError

    def forward(self, encoded: Encoded) -> Tensor:
        """(batch, length, vocabulary)."""
        return self.logits(encoded.per_token(), encoded.embedding)


class SharedVocabulary(Vocabulary):
    """Logits over the vocabulary through the table that read the tokens."""

    def __init__(self, width: int, embedding_width: int, vocabulary: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(width, embedding_width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def logits(self, states: Tensor, embedding: Tensor | None) -> Tensor:
        """(rows, vocabulary) of states (rows, width).

        Raises:
            ValueError: the backbone shows no table.
        """
        if embedding is None:
            raise ValueError("this backbone shows no table that a head could share")
        return functional.linear(functional.gelu(self.narrow(states)), embedding, self.bias)


class OwnVocabulary(Vocabulary):
    """Logits over the vocabulary through a table of its own."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.output = nn.Linear(width, vocabulary)

    def logits(self, states: Tensor, embedding: Tensor | None) -> Tensor:
        """(rows, vocabulary) of states (rows, width)."""
        return self.output(states)

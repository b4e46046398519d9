"""From one vector per token to one per row; padding never counts."""

from torch import Tensor
from torch.nn import functional

from components.layers.attention import HIDDEN


def mean(states: Tensor, mask: Tensor) -> Tensor:
    """(batch, width) mean over the tokens; zeros where there is none."""
    seen = mask.unsqueeze(-1).to(states.dtype)
    return (states * seen).sum(1) / seen.sum(1).clamp(min=1)


def maximum(states: Tensor, mask: Tensor) -> Tensor:
    """(batch, width) largest value over the tokens; zeros where there is none."""
    largest = states.masked_fill(~mask.unsqueeze(-1), HIDDEN).amax(1)
    return largest * mask.any(1, keepdim=True).to(states.dtype)


def root(states: Tensor, mask: Tensor) -> Tensor:
    """(batch, width) sum over the tokens divided by the root of their number; zeros for none.

    What bringing to length 1 is to a bag of features that come once each.
    """
    seen = mask.unsqueeze(-1).to(states.dtype)
    return (states * seen).sum(1) / seen.sum(1).clamp(min=1).sqrt()


def unit(states: Tensor, mask: Tensor) -> Tensor:
    """(batch, width) sum over the tokens, brought to length 1."""
    seen = mask.unsqueeze(-1).to(states.dtype)
    return functional.normalize((states * seen).sum(1), dim=-1)

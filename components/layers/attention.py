"""One attention that picks the faster kernel for where and how it runs."""

import torch
from torch import Tensor
from torch.nn import functional

HIDDEN = -1e4
"""Added to the scores of hidden keys: exp of it is 0, it fits fp16, and a row in which every key
is hidden gives numbers instead of NaN."""
FUSED_FROM = 256
"""Tokens from which the fused kernel wins in fp32 on a CPU; below, two matrix products do."""


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """softmax(QK'/sqrt(d) + bias) V (Vaswani et al., arXiv:1706.03762, equation 1).

    query, key, value: (batch, heads, length, d); bias: broadcasts to (batch, heads, length,
    length), 0 where a key may be seen and `HIDDEN` where not.
    """
    if fused(query):
        return functional.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return (scores + bias.to(scores.dtype)).softmax(-1).to(value.dtype) @ value


def fused(query: Tensor) -> bool:
    """Whether PyTorch's fused kernel is the faster one.

    On a CPU its backward pass in bf16 is 2 to 8 times slower than two matrix products (torch
    2.13). A graph gets the two products: their number of nodes is smaller and no length is
    frozen into it.
    """
    if torch.compiler.is_exporting() or torch.jit.is_tracing():
        return False
    if query.device.type != "cpu":
        return True
    return query.dtype == torch.float32 and query.shape[-2] >= FUSED_FROM


def hidden_keys(mask: Tensor, like: torch.dtype) -> Tensor:
    """Bias (batch, 1, 1, length) that hides padding."""
    return (~mask).to(like)[:, None, None, :] * HIDDEN

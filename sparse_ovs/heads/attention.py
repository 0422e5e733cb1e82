"""Multi-head attention whose mask is the same for all its heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.nn.token_linear import token_linear


class Attention(nn.Module):
    """Multi-head attention with nn.MultiheadAttention's parameters.

    That module takes a mask for every head on its own and makes it floating point: 8 heads, 100
    queries and 15,200 keys are 49 MB a layer. Here all heads share one of bits.

    Args:
        dim: width of queries, keys and values.
        heads: divides dim.

    Attributes:
        as_convolution: see TokenLinear.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.as_convolution = True
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        for weight in (self.in_proj_weight, self.out_proj.weight):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None
    ) -> Tensor:
        """(N, Q, dim), (N, S, dim) and (N, S, dim) -> (N, Q, dim).

        Args:
            allowed: bool (N, Q, S), which keys a query sees; at least one each.
        """
        q, k, v = (
            token_linear(x, weight, bias, self.as_convolution)
            for x, weight, bias in zip(
                (query, key, value),
                self.in_proj_weight.chunk(3),
                self.in_proj_bias.chunk(3),
                strict=True,
            )
        )
        return self.out_proj(attend(q, k, v, self.heads, allowed))


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, allowed: Tensor | None = None
) -> Tensor:
    """Scaled dot-product attention of projected vectors, head by head.

    Args:
        query: (N, Q, C).
        key, value: (N, S, C).
        heads: divides C.
        allowed: bool (N, Q, S), the same for all heads; at least one key each.

    Returns:
        (N, Q, C).
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    mask = None if allowed is None else allowed[:, None]
    return F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)


def open_blocked(allowed: Tensor) -> Tensor:
    """The same mask, where queries that see no key at all see every one; (..., S) bool."""
    return allowed | ~allowed.any(-1, keepdim=True)

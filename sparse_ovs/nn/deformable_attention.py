"""DeformableAttention: tokens look at a few points of each map of a pyramid, which they choose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.nn.token_linear import TokenLinear


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention (Zhu et al., Deformable DETR, arXiv 2010.04159, section 4).

    Parameters are named as in fc-clip's and Mask2Former's files.

    Args:
        dim: channels C of queries and source.
        heads: H, which divides C.
        levels: L maps of the source.
        points: P that each query and head samples in each map.

    Attributes:
        native: whether the native kernel runs where it can; else torch's grid_sample.

    Raises:
        ValueError: a number below 1, or heads that do not divide dim.
    """

    def __init__(self, dim: int = 256, heads: int = 8, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        if min(dim, heads, levels, points) < 1:
            raise ValueError(
                "expected dim, heads, levels and points of at least 1, got "
                f"{dim}, {heads}, {levels} and {points}"
            )
        if dim % heads:
            raise ValueError(f"expected heads that divide dim {dim}, got {heads}")
        self.native = True
        self.dim, self.heads, self.levels, self.points = dim, heads, levels, points
        self.sampling_offsets = TokenLinear(dim, heads * levels * points * 2)
        self.attention_weights = TokenLinear(dim, heads * levels * points)
        self.value_proj = TokenLinear(dim, dim)
        self.output_proj = TokenLinear(dim, dim)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Each head starts with a direction of its own, its points 1, 2, ... cells away, all of the
        same weight (appendix A.3)."""
        turns = torch.arange(self.heads) * (2.0 * math.pi / self.heads)
        directions = torch.stack([turns.cos(), turns.sin()], -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        distances = torch.arange(1.0, self.points + 1)
        bias = directions[:, None, None] * distances[:, None]  # (H, 1, P, 2)
        self.sampling_offsets.bias.copy_(bias.expand(-1, self.levels, -1, -1).flatten())
        for zero in (
            self.sampling_offsets.weight,
            self.attention_weights.weight,
            self.attention_weights.bias,
            self.value_proj.bias,
            self.output_proj.bias,
        ):
            nn.init.zeros_(zero)
        nn.init.xavier_uniform_(self.value_proj.weight)
        nn.init.xavier_uniform_(self.output_proj.weight)

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        source: Tensor,
        shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """(N, Q, C): what the queries find.

        Args:
            query: (N, Q, C).
            reference_points: (N or 1, Q, L, 2): where each query is in each map, as (x, y) in
                [0, 1]; offsets are in cells from there.
            source: (N, S, C), the cells of the maps, map after map, each row by row.
            shapes: (h, w) of the maps.

        Raises:
            ValueError: tensors or shapes that do not fit each other or the module.
        """
        return self.look(query, reference_points, self.values(source), shapes)

    def values(self, source: Tensor) -> Tensor:
        """(N, S, C) -> (N, S, H, C / H): what `look` finds in the cells."""
        return self.value_proj(source).unflatten(-1, (self.heads, -1))

    def look(
        self,
        query: Tensor,
        reference_points: Tensor,
        values: Tensor,
        shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """`forward` for some queries of many that look at the same values: those of `values`."""
        if len(shapes) != self.levels:
            raise ValueError(f"expected shapes of {self.levels} levels, got {len(shapes)}")
        n, queries = query.shape[:2]
        if tuple(reference_points.shape) not in {(k, queries, self.levels, 2) for k in (1, n)}:
            raise ValueError(
                f"expected reference_points ({n} or 1, {queries}, {self.levels}, 2), "
                f"got {tuple(reference_points.shape)}"
            )
        each = (self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*each, 2))
        logits = self.attention_weights(query).unflatten(-1, each)
        attend = ops.deformable_attention_around if self.native else _in_torch
        return self.output_proj(attend(values, shapes, reference_points, offsets, logits))


def _in_torch(
    values: Tensor,
    shapes: Sequence[tuple[int, int]],
    references: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """ops.deformable_attention_around without the kernel."""
    locations, weights = ops.deformable_places(shapes, references, offsets, logits)
    return ops.deformable_attention_reference(values, shapes, locations, weights)

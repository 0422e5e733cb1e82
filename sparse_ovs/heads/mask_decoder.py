"""Transformer decoder: queries that look at the maps where their own masks are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparse_ovs.heads.attention import Attention, open_blocked
from sparse_ovs.heads.mask_sizes import MaskSizes
from sparse_ovs.heads.perceptron import Perceptron
from sparse_ovs.heads.pixel_decoder import LEVELS
from sparse_ovs.heads.positions import sine_positions
from sparse_ovs.heads.shrink import shrunk
from sparse_ovs.nn.dense_conv import pointwise, weighted_sums


class MaskDecoder(nn.Module):
    """Masked cross-attention, self-attention and a feed-forward network, layer after layer, the
    levels in turn (Mask2Former, arXiv 2112.01527, section 3.2).

    A layer's queries see the cells of its level where the mask they predicted before it, resized to
    that level, is positive; all cells where there is none. Resizing is linear, so mask features
    are resized once a level instead of every layer's masks: the same masks up to rounding, at a
    fraction of the cost.

    Args:
        sizes: see MaskSizes.

    Attributes:
        native: see DenseConv2d.
    """

    def __init__(self, sizes: MaskSizes) -> None:
        super().__init__()
        self.native = True
        self.query_feat = nn.Embedding(sizes.queries, sizes.dim)
        self.query_embed = nn.Embedding(sizes.queries, sizes.dim)
        self.level_embed = nn.Embedding(LEVELS, sizes.dim)
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttentionLayer(sizes) for _ in range(sizes.decoder_layers)
        )
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttentionLayer(sizes) for _ in range(sizes.decoder_layers)
        )
        self.transformer_ffn_layers = nn.ModuleList(
            FeedForwardLayer(sizes) for _ in range(sizes.decoder_layers)
        )
        self.decoder_norm = nn.LayerNorm(sizes.dim)
        self.mask_embed = Perceptron([sizes.dim] * 4)

    def forward(
        self,
        levels: Sequence[Tensor],
        mask_features: Tensor,
        every: bool,
        projection: nn.Conv2d | None = None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Queries and their masks at each point where masks are predicted.

        Args:
            levels: LEVELS maps (N, dim, h, w), the coarsest first.
            mask_features: (N, dim, h, w).
            every: the points before the first layer and after each of them; else the last alone.
            projection: 1x1, that is still to be applied to mask_features. It is applied to the few
                queries' embeddings instead: the same masks up to rounding.

        Returns:
            by point, normalised queries (N, Q, dim) and mask logits (N, Q, h, w).
        """
        values, keys, small = [], [], []
        for x, level in zip(levels, self.level_embed.weight, strict=True):
            height, width = x.shape[-2:]
            values.append(x.flatten(2).transpose(1, 2) + level)
            keys.append(values[-1] + sine_positions(height, width, x.shape[1], x))
            small.append(shrunk(mask_features.detach(), height, width).flatten(2))
        places = self.query_embed.weight
        queries = self.query_feat.weight.expand(len(mask_features), -1, -1)
        points = []
        layers = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for index, (cross_attention, self_attention, feed_forward) in enumerate(layers):
            level = index % LEVELS
            normed = self.decoder_norm(queries)
            embedded, bias = self._embed(normed, projection)
            if every:
                points.append((normed, pointwise(mask_features, embedded, bias, self.native)))
            with torch.no_grad():
                allowed = open_blocked(weighted_sums(embedded, small[level], bias) >= 0)
            queries = cross_attention(queries, places, keys[level], values[level], allowed)
            queries = self_attention(queries, places)
            queries = feed_forward(queries)
        normed = self.decoder_norm(queries)
        embedded, bias = self._embed(normed, projection)
        points.append((normed, pointwise(mask_features, embedded, bias, self.native)))
        return points

    def _embed(self, queries: Tensor, projection: nn.Conv2d | None) -> tuple[Tensor, Tensor | None]:
        """What mask features are multiplied by, (N, Q, dim), and what is added, (N, Q) or None."""
        embedded = self.mask_embed(queries)
        if projection is None:
            return embedded, None
        assert projection.bias is not None
        return embedded @ projection.weight.flatten(1), embedded @ projection.bias


class CrossAttentionLayer(nn.Module):
    """Queries look at cells; a residual, then a norm."""

    def __init__(self, sizes: MaskSizes) -> None:
        super().__init__()
        self.multihead_attn = Attention(sizes.dim, sizes.heads)
        self.norm = nn.LayerNorm(sizes.dim)

    def forward(
        self, queries: Tensor, places: Tensor, keys: Tensor, values: Tensor, allowed: Tensor
    ) -> Tensor:
        """(N, Q, dim) -> (N, Q, dim), see `Attention`."""
        return self.norm(queries + self.multihead_attn(queries + places, keys, values, allowed))


class SelfAttentionLayer(nn.Module):
    """Queries look at each other; a residual, then a norm."""

    def __init__(self, sizes: MaskSizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes.dim, sizes.heads)
        self.norm = nn.LayerNorm(sizes.dim)

    def forward(self, queries: Tensor, places: Tensor) -> Tensor:
        """(N, Q, dim) -> (N, Q, dim)."""
        placed = queries + places
        return self.norm(queries + self.self_attn(placed, placed, queries))


class FeedForwardLayer(nn.Module):
    """Two linear layers with a ReLU between; a residual, then a norm."""

    def __init__(self, sizes: MaskSizes) -> None:
        super().__init__()
        self.linear1 = nn.Linear(sizes.dim, sizes.ffn)
        self.linear2 = nn.Linear(sizes.ffn, sizes.dim)
        self.norm = nn.LayerNorm(sizes.dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, queries: Tensor) -> Tensor:
        """(N, Q, dim) -> (N, Q, dim)."""
        return self.norm(queries + self.linear2(self.linear1(queries).relu()))

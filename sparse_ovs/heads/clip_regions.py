"""CLIP's own embeddings of masks, from its last map."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.backbones import ClipParts
from sparse_ovs.heads.attention import attend, open_blocked
from sparse_ovs.heads.mask_pooling import pool_by_masks


def embed_masks(clip: ClipParts, last: Tensor, mask_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Each mask in CLIP's joint space (FC-CLIP, arXiv 2308.02487, section 3.3).

    Masks are resized to the map. ConvNeXts: the mean of the map over a mask goes through CLIP's
    last norm and projection. ResNets: CLIP's attention pool, whose query is the mean of the whole
    map, the same for all masks, sees a mask's cells alone.

    Args:
        clip: of a ResNet or a ConvNeXt.
        last: (N, C, h, w).
        mask_logits: (N, Q, h', w').

    Returns:
        unit vectors (N, Q, D), and whether they count, (N, Q) bool: no vector of a ResNet does
        whose mask has no cell.
    """
    resized = F.interpolate(mask_logits, last.shape[-2:], mode="bilinear", align_corners=False)
    visual: Any = clip.visual
    if clip.attention_pool is None:
        vectors = _project_means(visual, last, resized)
        counts = torch.ones(vectors.shape[:2], dtype=torch.bool, device=last.device)
    else:
        allowed = resized.flatten(2) > 0
        vectors = _attention_pool(clip.attention_pool, last, allowed)
        counts = allowed.any(-1)
    return F.normalize(vectors, dim=-1), counts


def _project_means(visual: Any, last: Tensor, mask_logits: Tensor) -> Tensor:
    means = pool_by_masks(visual.trunk.norm_pre(last), mask_logits)
    pooled = visual.trunk.head(means.flatten(0, 1)[:, :, None, None])
    return visual.head(pooled).unflatten(0, means.shape[:2])


def _attention_pool(pool: Any, last: Tensor, allowed: Tensor) -> Tensor:
    """(N, C, h, w) and (N, Q, h * w) bool -> (N, Q, D)."""
    cells = last.flatten(2).transpose(1, 2)
    positions = pool.positional_embedding.to(last.dtype)
    side = math.isqrt(len(positions) - 1)
    grid = positions[1:].T.reshape(1, -1, side, side)
    placed = F.interpolate(grid, last.shape[-2:], mode="bilinear", align_corners=False)
    keys = cells + placed.flatten(2).transpose(1, 2)
    query = pool.q_proj(cells.mean(1, keepdim=True) + positions[0])
    query = query.expand(-1, allowed.shape[1], -1)
    found = attend(
        query, pool.k_proj(keys), pool.v_proj(keys), pool.num_heads, open_blocked(allowed)
    )
    return pool.c_proj(found)

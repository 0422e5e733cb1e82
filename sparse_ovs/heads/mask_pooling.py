"""Vectors of masks: means of a map over them."""

from __future__ import annotations

from torch import Tensor


def pool_by_masks(x: Tensor, mask_logits: Tensor) -> Tensor:
    """The mean over the cells where a mask's logit is positive; 0 where none is (FC-CLIP, arXiv
    2308.02487, section 3.3).

    Args:
        x: (N, C, h, w).
        mask_logits: (N, Q, h, w); no gradient flows into them.

    Returns:
        (N, Q, C).
    """
    inside = (mask_logits > 0).flatten(2).to(x.dtype)
    shares = inside / inside.sum(-1, keepdim=True).clamp(min=1)
    return shares @ x.flatten(2).transpose(1, 2)

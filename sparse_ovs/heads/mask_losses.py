"""Losses of mask heads: of matched masks at points, and of all queries' classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.heads.loss_settings import MaskLossSettings
from sparse_ovs.heads.mask_output import Prediction
from sparse_ovs.heads.mask_points import sample, uncertain_points
from sparse_ovs.heads.matching import Draws, Match
from sparse_ovs.heads.precision import at_least_fp32
from sparse_ovs.heads.regions import Regions


def mask_loss_sums(
    prediction: Prediction,
    targets: Sequence[Regions],
    matches: Sequence[Match],
    settings: MaskLossSettings,
    draws: Draws,
) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice loss of matched queries' masks, summed over all pairs, at
    points of which most are where a mask is least certain (Mask2Former, arXiv 2112.01527, section
    3.3).

    Returns:
        two scalars.
    """
    sums = []
    for image, (target, match) in enumerate(zip(targets, matches, strict=True)):
        logits = at_least_fp32(prediction.mask_logits[image, match.queries])
        truth = target.masks[match.regions].to(logits.dtype)
        with torch.no_grad():
            points = uncertain_points(
                logits, settings.points, settings.oversample, settings.uncertain, draws[image]
            )
        at_points = sample(logits, points), sample(truth, points)
        sums.append(torch.stack((cross_entropy_sum(*at_points), dice_sum(*at_points))))
    cross_entropy, dice = torch.stack(sums).sum(0)
    return cross_entropy, dice


def cross_entropy_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, (n, P) each: the mean over points, the sum over masks."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1).sum()


def dice_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - (2 p t + 1) / (p + t + 1), products and terms summed over points, the sum over masks
    (V-Net, arXiv 1606.04797, with the terms 1 of Mask2Former)."""
    shares = logits.sigmoid()
    overlap = 2 * (shares * targets).sum(1) + 1
    return (1 - overlap / (shares.sum(1) + targets.sum(1) + 1)).sum()


def class_loss_sums(
    prediction: Prediction,
    targets: Sequence[Regions],
    matches: Sequence[Match],
    settings: MaskLossSettings,
    draws: Draws,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of all queries' classes, "no object" for those without a region.

    Returns:
        the weighted sum over queries, and the sum of the weights.
    """
    logits = at_least_fp32(prediction.class_logits)
    images, queries, classes = logits.shape
    wanted = torch.full((images, queries), classes - 1, device=logits.device)
    weights = logits.new_full((images, queries), settings.void_weight)
    for image, (target, match) in enumerate(zip(targets, matches, strict=True)):
        wanted[image, match.queries] = target.classes[match.regions].to(logits.device)
        drawn = torch.rand(len(match.queries), generator=draws[image])
        weights[image, match.queries] = (drawn >= settings.ignored).to(weights)
    losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    return losses @ weights.flatten(), weights.sum()

"""Which query is to predict which region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.heads.loss_settings import MaskLossSettings
from sparse_ovs.heads.mask_output import Prediction
from sparse_ovs.heads.mask_points import random_points, sample_shared
from sparse_ovs.heads.precision import at_least_fp32
from sparse_ovs.heads.regions import Regions

Draws = Sequence[torch.Generator | None]
"""CPU generators by image; None draws from torch's global one."""


class Match(NamedTuple):
    """Pairs of one image, (n,) int64 each, by rising region; where there are more regions than
    queries, some regions are in none."""

    queries: Tensor
    regions: Tensor


def match_queries(
    prediction: Prediction, targets: Sequence[Regions], settings: MaskLossSettings, draws: Draws
) -> list[Match]:
    """By image, the pairs of least cost in sum (DETR, arXiv 2005.12872, section 3.1; the costs of
    Mask2Former, arXiv 2112.01527): less the class's probability, binary cross-entropy and dice loss
    at random points, weighed.

    Raises:
        ValueError: costs that are not finite.
    """
    # Here, for it takes a tenth of the time that the whole package takes to import.
    from scipy.optimize import linear_sum_assignment

    probabilities = at_least_fp32(prediction.class_logits.detach()).softmax(-1)
    masks = at_least_fp32(prediction.mask_logits.detach())
    matches = []
    for image, target in enumerate(targets):
        device = masks.device
        points = random_points(1, settings.points, draws[image], device)[0]
        costs = matching_costs(
            probabilities[image][:, target.classes],
            sample_shared(masks[image], points),
            sample_shared(target.masks.to(masks.dtype), points),
            settings,
        )
        if not costs.isfinite().all():
            raise ValueError("expected finite predictions, got NaN or infinity in a matching cost")
        regions, queries = linear_sum_assignment(costs.T.cpu().numpy())
        matches.append(
            Match(torch.from_numpy(queries).to(device), torch.from_numpy(regions).to(device))
        )
    return matches


def matching_costs(
    probabilities: Tensor, logits: Tensor, targets: Tensor, settings: MaskLossSettings
) -> Tensor:
    """What each pair of a query and a region costs.

    Args:
        probabilities: (Q, n), each query's, of each region's class.
        logits: (Q, P) of the queries' masks at points.
        targets: (n, P) of the regions at the same points, 0 to 1.

    Returns:
        (Q, n).
    """
    count = logits.shape[1]
    present, absent = F.softplus(-logits), F.softplus(logits)
    cross_entropy = (present @ targets.T + absent @ (1 - targets).T) / count
    shares = logits.sigmoid()
    overlap = 2 * shares @ targets.T + 1
    dice = 1 - overlap / (shares.sum(1)[:, None] + targets.sum(1) + 1)
    return (
        settings.mask_weight * cross_entropy
        + settings.dice_weight * dice
        - settings.class_weight * probabilities
    )

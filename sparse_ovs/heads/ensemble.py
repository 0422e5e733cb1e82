"""A trained classifier and CLIP's own, joined in log space."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.heads.precision import at_least_fp32


def join_classifiers(trained: Tensor, of_clip: Tensor, weights: Tensor, counts: Tensor) -> Tensor:
    """A geometric mean of two classifiers' probabilities, and "no object" by the trained one
    (FC-CLIP, arXiv 2308.02487, section 3.3).

    With p and q their softmax over the K classes, r of all K + 1 logits of the trained one, and w a
    class's weight, the probability of class k is (1 - r_void) softmax_k((1 - w) log p + w log q).
    Logarithms of probabilities stay finite where the probabilities underflow; of a query that does
    not count, q is left out, whatever it holds, NaN too.

    Args:
        trained: logits (N, Q, K + 1), the last of "no object".
        of_clip: logits (N, Q, K).
        weights: (K,), from 0 to 1: of q.
        counts: (N, Q) bool, whether q counts.

    Returns:
        log-probabilities (N, Q, K + 1): their exponentials sum to 1.
    """
    trained, of_clip = at_least_fp32(trained), at_least_fp32(of_clip)
    classes, everything = trained[..., :-1], trained.logsumexp(-1, keepdim=True)
    counts = counts[..., None]
    w = weights * counts
    other = torch.where(counts, of_clip.log_softmax(-1), 0)
    joint = ((1 - w) * classes.log_softmax(-1) + w * other).log_softmax(-1)
    present = classes.logsumexp(-1, keepdim=True) - everything
    return torch.cat((joint + present, trained[..., -1:] - everything), -1)

"""What a spectrum says beside alpha; in all, small is taken for a well trained layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparse_ovs.spectral.estimators import Fit


def stable_rank(eigenvalues: Tensor) -> float:
    """Sum of the eigenvalues over the largest, 1 to N: the squared Frobenius over the squared
    spectral norm, where the weight is one matrix."""
    return float(eigenvalues.sum() / eigenvalues.max())


def log_spectral_norm(eigenvalues: Tensor) -> float:
    """log10 of the largest eigenvalue."""
    return math.log10(float(eigenvalues.max()))


def entropy(eigenvalues: Tensor) -> float:
    """Shannon entropy of the eigenvalues as shares of their sum, over ln N: 1 where all are
    equal."""
    shares = eigenvalues / eigenvalues.sum()
    return float(torch.special.entr(shares).sum()) / math.log(len(shares))


def alpha_hat(fit: Fit, eigenvalues: Tensor) -> float:
    """alpha times log10 of the largest eigenvalue (Martin et al. 2021, Nat. Commun. 12, 4122)."""
    return fit.alpha * log_spectral_norm(eigenvalues)

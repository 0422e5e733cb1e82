"""How far maps are from those of dense fp32: three figures, as int8 needs more than the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MapErrors:
    """Of several maps, each figure that of the worst one; b is the reference.

    Attributes:
        largest: max|a - b| / max|b|, what rounding in fp32 is judged by.
        relative: |a - b| / |b| in the L2 norm, what int8 is judged by.
        cosine: of a and b.
    """

    largest: float
    relative: float
    cosine: float

    def __str__(self) -> str:
        return f"relative error {self.relative:.1e}, cosine {self.cosine:.4f}"


def map_errors(ours: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> MapErrors:
    """Errors over pairs of maps; infinite, with cosine 0, where their number or a shape differs,
    NaN where a value is none."""
    if [a.shape for a in ours] != [b.shape for b in reference]:
        return MapErrors(float("inf"), float("inf"), 0.0)
    largest, relative, cosines = [], [], []
    for a, b in zip((a.astype(np.float64) for a in ours), reference, strict=True):
        b = b.astype(np.float64)
        norm_a, norm_b = np.linalg.norm(a), np.linalg.norm(b)
        with np.errstate(divide="ignore", invalid="ignore"):  # a map of zeros
            largest.append(np.abs(a - b).max() / np.abs(b).max())
            relative.append(np.linalg.norm(a - b) / norm_b)
            cosines.append(np.vdot(a, b) / (norm_a * norm_b))
    return MapErrors(float(np.max(largest)), float(np.max(relative)), float(np.min(cosines)))

"""Magnitude masks: the largest weights of one layer or of many, in units of a pattern."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.patterns.layout import flatten_tap_major, unflatten_tap_major
from sparse_ovs.patterns.pattern import Pattern, check_density, kept_count, parse_pattern


def make_mask(weight: Tensor, pattern: str | Pattern, density: float | None = None) -> Tensor:
    """Mask of the largest magnitudes of one weight.

    Units are weights, blocks (by the sum of magnitudes; blocks at the edges may be smaller), output
    channels (by the sum of magnitudes), or for n:m the n largest of every m columns. Exactly
    floor(density * units) units are kept; of equal units the one with the lower tap-major index.
    -0.0 ranks as 0.0.

    Args:
        weight: (O, I, *kernel) or (O, I), floating point.
        pattern: see `parse_pattern`.
        density: kept fraction, 0 < density <= 1; for n:m None or n / m.

    Returns:
        bool, of the weight's shape.

    Raises:
        ValueError: bad pattern or density, or NaN in the weight.
        TypeError: the weight is not floating point.
    """
    pattern = parse_pattern(pattern)
    magnitude = _magnitudes(weight)
    if pattern.kind == "n:m":
        _check_n_of_m_density(pattern, density)
        kept = _n_of_m(magnitude, pattern.first, pattern.second)
    else:
        if density is None:
            raise ValueError(f"expected a density for pattern '{pattern}', got None")
        scores = _unit_scores(magnitude, pattern)
        kept_units = _largest(scores.reshape(-1), kept_count(density, scores.numel()))
        kept = _expand_units(kept_units.view_as(scores), pattern, magnitude.shape)
    return unflatten_tap_major(kept, weight.shape)


def make_global_masks(
    weights: Mapping[str, Tensor], pattern: str | Pattern, density: float | None = None
) -> dict[str, Tensor]:
    """Masks of the largest units of all weights together: one threshold, floor(density * all units)
    kept.

    Of equal units the one of the earlier weight, then of the lower tap-major index, is kept. n:m
    has no choice to make between layers, so its masks are those of `make_mask`.

    Args:
        weights: by layer name, in the order that breaks ties.

    Returns:
        Masks by the same names. See `make_mask` for units and errors.
    """
    pattern = parse_pattern(pattern)
    if pattern.kind == "n:m":
        return {name: make_mask(weight, pattern, density) for name, weight in weights.items()}
    if density is None:
        raise ValueError(f"expected a density for pattern '{pattern}', got None")
    check_density(density)
    magnitudes = {name: _magnitudes(weight) for name, weight in weights.items()}
    scores = {name: _unit_scores(m, pattern) for name, m in magnitudes.items()}
    if not scores:
        return {}
    pooled = torch.cat([s.reshape(-1).float() for s in scores.values()])
    kept = _largest(pooled, kept_count(density, pooled.numel()))
    masks = {}
    for (name, score), part in zip(
        scores.items(), kept.split([s.numel() for s in scores.values()]), strict=True
    ):
        flat = _expand_units(part.view_as(score), pattern, magnitudes[name].shape)
        masks[name] = unflatten_tap_major(flat, weights[name].shape)
    return masks


def _magnitudes(weight: Tensor) -> Tensor:
    """|weight|, tap-major (O, K); halves become float32 so that block sums do not round."""
    if not weight.is_floating_point():
        raise TypeError(f"expected a floating point weight, got {weight.dtype}")
    magnitude = flatten_tap_major(weight.detach()).abs()
    if magnitude.dtype in (torch.float16, torch.bfloat16):
        magnitude = magnitude.float()
    if torch.isnan(magnitude).any():
        raise ValueError("expected a weight without NaN, got NaN")
    return magnitude


def _check_n_of_m_density(pattern: Pattern, density: float | None) -> None:
    if density is None:
        return
    implied = pattern.first / pattern.second
    if abs(check_density(density) - implied) > 1e-9:
        raise ValueError(
            f"expected density {implied:g} or None for pattern '{pattern}', got {density!r}"
        )


def _padded(magnitude: Tensor, rows: int, cols: int) -> Tensor:
    """Zeros added at the bottom and the right, up to whole units."""
    return F.pad(magnitude, (0, -magnitude.shape[1] % cols, 0, -magnitude.shape[0] % rows))


def _unit_scores(magnitude: Tensor, pattern: Pattern) -> Tensor:
    """One score a unit: (O, K), (block rows, block columns) or (O, 1)."""
    if pattern.kind == "unstructured":
        return magnitude
    if pattern.kind == "channel":
        return magnitude.sum(1, keepdim=True)
    rows, cols = pattern.first, pattern.second
    padded = _padded(magnitude, rows, cols)
    return padded.unflatten(0, (-1, rows)).unflatten(2, (-1, cols)).sum((1, 3))


def _expand_units(kept: Tensor, pattern: Pattern, shape: torch.Size) -> Tensor:
    """Units back to single weights (O, K)."""
    if pattern.kind == "unstructured":
        return kept
    if pattern.kind == "channel":
        return kept.expand(shape)
    whole = kept.repeat_interleave(pattern.first, 0).repeat_interleave(pattern.second, 1)
    return whole[: shape[0], : shape[1]]


def _largest(scores: Tensor, count: int) -> Tensor:
    """bool: the `count` largest of a flat tensor; of equal ones those with the lowest index."""
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    if count <= 0:
        return kept
    if count >= scores.numel():
        return ~kept
    threshold = torch.kthvalue(scores, scores.numel() - count + 1).values
    kept = scores > threshold
    ties = (scores == threshold).nonzero().squeeze(1)
    kept[ties[: count - int(kept.sum())]] = True
    return kept


def _n_of_m(magnitude: Tensor, n: int, m: int) -> Tensor:
    """bool (O, K): the n largest of every m neighbouring columns; a shorter group at the end
    keeps min(n, length)."""
    # Padding ranks below every weight, zeros included.
    groups = F.pad(magnitude, (0, -magnitude.shape[1] % m), value=-1.0).unflatten(1, (-1, m))
    order = groups.sort(dim=2, descending=True, stable=True).indices[..., :n]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(2, order, True)
    return kept.flatten(1)[:, : magnitude.shape[1]]

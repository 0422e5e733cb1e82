"""Units of a pattern: what is kept or pruned as one, its score, and back to single weights."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.patterns.layout import flatten_tap_major
from sparse_ovs.patterns.pattern import Pattern


def magnitudes(weight: Tensor) -> Tensor:
    """|weight|, tap-major (O, K), on the CPU; halves become float32 so that block sums do not
    round.

    Raises:
        TypeError: the weight is not floating point.
        ValueError: NaN in the weight.
    """
    if not weight.is_floating_point():
        raise TypeError(f"expected a floating point weight, got {weight.dtype}")
    # Sums on the CPU whatever the weight's device: their order, so their bits, must not differ.
    magnitude = flatten_tap_major(weight.detach().cpu()).abs()
    if magnitude.dtype in (torch.float16, torch.bfloat16):
        magnitude = magnitude.float()
    if torch.isnan(magnitude).any():
        raise ValueError("expected a weight without NaN, got NaN")
    return magnitude


def unit_grid(shape: Sequence[int], pattern: Pattern) -> tuple[int, int]:
    """Rows and columns of the units of a weight (O, I, *kernel): single weights, blocks (smaller
    ones at the edges included) or output channels.

    Raises:
        ValueError: n:m, whose groups each keep a part.
    """
    rows, columns = shape[0], prod(shape[1:])
    if pattern.kind == "unstructured":
        return rows, columns
    if pattern.kind == "channel":
        return rows, 1
    if pattern.kind == "block":
        return -(-rows // pattern.first), -(-columns // pattern.second)
    raise ValueError(
        f"expected a pattern of whole units, got '{pattern}', which keeps n of every m"
    )


def unit_sums(matrix: Tensor, pattern: Pattern) -> Tensor:
    """Sum over each unit of a tap-major (O, K): its shape is `unit_grid`."""
    if pattern.kind == "unstructured":
        return matrix
    if pattern.kind == "channel":
        return matrix.sum(1, keepdim=True)
    rows, columns = pattern.first, pattern.second
    # Zeros at the bottom and the right, up to whole blocks.
    padded = F.pad(matrix, (0, -matrix.shape[1] % columns, 0, -matrix.shape[0] % rows))
    return padded.unflatten(0, (-1, rows)).unflatten(2, (-1, columns)).sum((1, 3))


def unit_sizes(shape: Sequence[int], pattern: Pattern) -> Tensor:
    """int64, of shape `unit_grid`: how many weights each unit has."""
    rows, columns = unit_grid(shape, pattern)
    if pattern.kind == "channel":
        return torch.full((rows, 1), prod(shape[1:]))
    height, width = (pattern.first, pattern.second) if pattern.kind == "block" else (1, 1)
    heights = torch.full((rows, 1), height)
    widths = torch.full((1, columns), width)
    heights[-1] = shape[0] - height * (rows - 1)
    widths[:, -1] = prod(shape[1:]) - width * (columns - 1)
    return heights * widths


def expand_units(kept: Tensor, pattern: Pattern, shape: Sequence[int]) -> Tensor:
    """Units (`unit_grid`) back to single weights, tap-major (O, K) of a weight of this shape."""
    rows, columns = shape[0], prod(shape[1:])
    if pattern.kind == "unstructured":
        return kept
    if pattern.kind == "channel":
        return kept.expand(rows, columns)
    whole = kept.repeat_interleave(pattern.first, 0).repeat_interleave(pattern.second, 1)
    return whole[:rows, :columns]


def kept_units(mask: Tensor, pattern: Pattern) -> Tensor:
    """bool, of shape `unit_grid`, on the CPU: the units that a mask (O, I, *kernel) keeps.

    Raises:
        ValueError: a mask that keeps a part of a unit, or n:m.
    """
    unit_grid(mask.shape, pattern)
    matrix = flatten_tap_major(mask.detach().cpu())
    if pattern.kind == "unstructured":
        return matrix
    kept = unit_sums(matrix.long(), pattern)
    whole = kept == unit_sizes(mask.shape, pattern)
    if bool(((kept != 0) & ~whole).any()):
        raise ValueError(f"expected a mask of whole units of pattern '{pattern}', got parts of one")
    return whole


def largest(scores: Tensor, count: int) -> Tensor:
    """bool: the `count` largest of a flat tensor; of equal ones those with the lowest index."""
    kept = torch.zeros_like(scores, dtype=torch.bool)
    if count <= 0:
        return kept
    if count >= scores.numel():
        return ~kept
    threshold = torch.kthvalue(scores, scores.numel() - count + 1).values
    kept = scores > threshold
    ties = (scores == threshold).nonzero().squeeze(1)
    kept[ties[: count - int(kept.sum())]] = True
    return kept


def largest_in_groups(scores: Tensor, size: int, count: int | Tensor) -> Tensor:
    """bool (O, K): the largest of every `size` neighbouring columns of (O, K), all scores at least
    -1; of equal ones those with the lowest index.

    Args:
        count: how many, for all groups or by group (O, groups); a group at the end may be shorter
            and keeps at most what it has.
    """
    # Padding ranks below every score, pruned weights included.
    groups = F.pad(scores, (0, -scores.shape[1] % size), value=-2.0).unflatten(1, (-1, size))
    order = groups.sort(dim=2, descending=True, stable=True).indices
    limit = count.unsqueeze(2) if isinstance(count, Tensor) else count
    taken = (torch.arange(size) < limit).expand(groups.shape)
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(2, order, taken)
    return kept.flatten(1)[:, : scores.shape[1]]

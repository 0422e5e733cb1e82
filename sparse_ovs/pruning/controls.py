"""Random masks: the controls that a criterion has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparse_ovs.patterns import (
    Pattern,
    flatten_tap_major,
    kept_count,
    parse_pattern,
    unflatten_tap_major,
)
from sparse_ovs.patterns.masks import check_amount, masks_of_units
from sparse_ovs.patterns.units import kept_units, largest_in_groups, unit_grid


def random_masks_like(
    masks: Mapping[str, Tensor], pattern: str | Pattern = "unstructured", *, seed: int
) -> dict[str, Tensor]:
    """Random masks that keep exactly as many units in each layer as the given masks do: what is
    left of a criterion when only its densities by layer are known.

    n:m keeps as many of each group of m as the given masks do.

    Args:
        masks: bool (O, I, *kernel) by layer name, of whole units of the pattern.
        seed: the same seed gives the same masks on every device.

    Returns:
        bool masks by the same names, on the given masks' devices.

    Raises:
        ValueError: an unknown pattern, or masks that keep parts of units.
    """
    parsed = parse_pattern(pattern)
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, mask in masks.items():
        if parsed.kind == "n:m":
            one = _random_in_groups(mask, parsed, generator)
        else:
            units = kept_units(mask, parsed)
            kept = _choose(units.numel(), int(units.sum()), generator)
            one = masks_of_units(kept, {name: mask.shape}, {name: units}, parsed)[name]
        made[name] = one.to(mask.device)
    return made


def uniform_random_masks(
    shapes: Mapping[str, Sequence[int]],
    pattern: str | Pattern = "unstructured",
    density: float | None = None,
    *,
    count: int | None = None,
    seed: int,
) -> dict[str, Tensor]:
    """Random masks in which every unit of every layer is as likely to stay: exactly so many of all
    layers together, nearly the same density in each.

    Args:
        shapes: of the weights (O, I, *kernel), by layer name.
        density: kept fraction of all units; or
        count: how many units stay.
        seed: the same seed gives the same masks on every device.

    Returns:
        bool masks by the same names, on the CPU.

    Raises:
        ValueError, TypeError: an unknown pattern, n:m (whose only random masks are those of
            `random_masks_like`), or a density or count out of its range.
    """
    parsed = parse_pattern(pattern)
    check_amount(parsed, density, count)
    units = {
        name: torch.empty(unit_grid(shape, parsed), device="meta") for name, shape in shapes.items()
    }
    total = sum(unit.numel() for unit in units.values())
    if density is not None:
        count = kept_count(density, total)
    assert count is not None
    if count > total:
        raise ValueError(f"expected a count of at most {total} units, got {count}")
    kept = _choose(total, count, torch.Generator().manual_seed(seed))
    return masks_of_units(kept, shapes, units, parsed) if units else {}


def _choose(total: int, count: int, generator: torch.Generator) -> Tensor:
    """bool (total,): `count` of them, every choice as likely."""
    kept = torch.zeros(total, dtype=torch.bool)
    kept[torch.randperm(total, generator=generator)[:count]] = True
    return kept


def _random_in_groups(mask: Tensor, pattern: Pattern, generator: torch.Generator) -> Tensor:
    matrix = flatten_tap_major(mask.cpu())
    size = pattern.second
    padded = torch.nn.functional.pad(matrix, (0, -matrix.shape[1] % size))
    counts = padded.unflatten(1, (-1, size)).sum(2)
    scores = torch.rand(matrix.shape, dtype=torch.float64, generator=generator)
    return unflatten_tap_major(largest_in_groups(scores, size, counts), mask.shape)

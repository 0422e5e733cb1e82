"""Which input channels share a group of four, so that a mask leaves the least outside 2:4."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from sparse_ovs.patterns import flatten_tap_major

# Eight channels fall into two groups of four in 35 ways: channel 0 is in the first of them.
_SPLITS = [(0, *others) for others in combinations(range(1, 8), 3)]
_LARGEST = 1 << 23  # counts held at once


def find_channel_order(
    mask: Tensor, rounds: int = 300, patience: int = 30, seed: int = 0
) -> Tensor:
    """(I,) int64: an order of the input channels for `to_two_four`; never worse than none.

    Local search: all groups are paired at random, each pair is regrouped as leaves the smallest
    residue of the 35 ways there are, and again with other pairs (the idea of channel permutation
    for N:M sparsity: Pool & Yu 2021; here what counts is the number of weights without a slot).
    Channels past the last whole group of four stay where they are.

    Args:
        mask: bool (O, I, *kernel) or (O, I).
        rounds: at most this many pairings.
        patience: stops after so many pairings without a gain.
        seed: of the pairings; the same order for the same seed.

    Raises:
        TypeError: the mask is not bool.
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"expected a bool mask, got {mask.dtype}")
    channels = mask.shape[1]
    rows = flatten_tap_major(mask.cpu()).reshape(-1, channels)
    order = torch.arange(channels)
    group_count = channels // 4
    groups = order[: 4 * group_count].view(group_count, 4).clone()
    generator = torch.Generator().manual_seed(seed)
    idle = 0
    for _ in range(rounds if group_count > 1 else 0):
        paired = torch.randperm(group_count, generator=generator)[: group_count // 2 * 2]
        first, second = paired.chunk(2)
        eight = torch.cat((groups[first], groups[second]), 1)  # (pairs, 8)
        split, gained = _best_splits(rows, eight)
        groups[first] = eight.gather(1, split[:, :4])
        groups[second] = eight.gather(1, split[:, 4:])
        idle = 0 if gained else idle + 1
        if idle == patience:
            break
    order[: 4 * group_count] = groups.flatten()
    return order


def _best_splits(rows: Tensor, eight: Tensor) -> tuple[Tensor, bool]:
    """For each eight channels (pairs, 8) the places, four by four, of the best split; and whether
    any of them is better than the present one."""
    all_splits = torch.tensor(
        [[*split, *(i for i in range(8) if i not in split)] for split in _SPLITS]
    )
    member = torch.zeros(8, len(_SPLITS))
    member.scatter_(0, all_splits[:, :4].T, 1.0)
    residue = torch.zeros(len(eight), len(_SPLITS))
    at_once = max(1, _LARGEST // (len(eight) * len(_SPLITS)))
    for part in rows.split(at_once):
        kept = part[:, eight].float()  # (rows, pairs, 8)
        in_first = kept @ member  # (rows, pairs, splits)
        in_second = kept.sum(2, keepdim=True) - in_first
        residue += (in_first - 2).clamp_(min=0).add_((in_second - 2).clamp_(min=0)).sum(0)
    # The present split comes first: it stays where none is better.
    best = residue.argmin(1)
    best = torch.where(residue.gather(1, best[:, None])[:, 0] < residue[:, 0], best, 0)
    return all_splits[best], bool((best != 0).any())

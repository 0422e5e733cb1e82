"""Orders the channels inside bottlenecks so that blocks of output channels keep more magnitude."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.backbones.bottlenecks import find_internal_channels, permute_internal_channels
from sparse_ovs.patterns import (
    Pattern,
    check_density,
    flatten_tap_major,
    kept_count,
    parse_pattern,
)
from sparse_ovs.pruning.row_groups import RowGroups

# Sweeps end when one adds less than this part of what is kept,
_ENOUGH = 1e-4
# and an order that keeps more by less than this keeps the same: sums round.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class PermutationReport:
    """What a search found.

    Attributes:
        orders: by convolution, int64 (O,): new output channel i is the old channel order[i].
        total: sum of all magnitudes of the layers.
        kept_before: sum of the magnitudes in kept blocks in the order that was there.
        kept_after: the same in the order that was found; never less.
    """

    orders: dict[str, Tensor]
    total: float
    kept_before: float
    kept_after: float

    def __str__(self) -> str:
        before, after = self.kept_before / self.total, self.kept_after / self.total
        return (
            f"kept magnitude {before:.2%} -> {after:.2%} ({len(self.orders)} layers in a new order)"
        )


def permute_for_blocks(
    model: nn.Module,
    pattern: str | Pattern = "block4x1",
    density: float | Mapping[str, float] = 0.1,
    *,
    layers: Sequence[str] | None = None,
    max_sweeps: int = 4,
    max_rounds: int = 30,
    progress: Callable[[str, int, int], None] | None = None,
) -> PermutationReport:
    """Permutes the internal channels of bottlenecks, in place, before pruning by blocks of R x 1.

    Outputs of the first and second convolution of a bottleneck move, together with their BatchNorm
    and the next convolution's inputs, so the network computes what it did; outputs of blocks
    (res2 to res5) keep their order. Which rows share a block is all that counts: the search starts
    from rows that are similar and swaps rows (see RowGroups) at the threshold of the density; the
    threshold is taken anew after each sweep over the layers. The best order of all sweeps is
    applied, the one that was there included. Nothing is random.

    Args:
        model: dense, with bottlenecks as in open_clip's or timm's ResNets.
        pattern: "blockRx1".
        density: kept fraction of all blocks together, as `make_global_masks` takes it; or by layer,
            as `make_mask` does.
        layers: names of the layers that are pruned; by default a Backbone's scope, or the layers
            that a density by layer names.
        max_sweeps: over all layers.
        max_rounds: of swaps for one layer in one sweep.
        progress: called with a layer's name, layers done and layers to do at most.

    Raises:
        ValueError: a pattern of another kind; no layers; densities of other layers; no bottleneck.
    """
    pattern = parse_pattern(pattern)
    if pattern.kind != "block" or pattern.second != 1:
        raise ValueError(f"expected a pattern blockRx1, got '{pattern}'")
    names = _layer_names(model, density, layers)
    channels = {c.conv: c for c in find_internal_channels(model) if c.conv in names}
    if not channels:
        raise ValueError("expected a model with bottlenecks among the layers, got none")
    search = _Search(model, names, pattern.first, density)
    movable = list(channels)
    before = best = search.kept()
    orders = {name: search.groups[name].order for name in movable}
    for sweep in range(max_sweeps):
        thresholds = search.thresholds()
        for index, name in enumerate(movable):
            groups = search.groups[name]
            if sweep == 0:
                groups.start_from_similar(thresholds[name])
            groups.improve(thresholds[name], max_rounds)
            if progress is not None:
                progress(name, sweep * len(movable) + index + 1, max_sweeps * len(movable))
        kept = search.kept()
        gained = kept - best
        if gained > _ROUNDING * best:
            best = kept
            orders = {name: search.groups[name].order for name in movable}
        if gained <= _ENOUGH * kept:
            break
    moved = {n: o for n, o in orders.items() if not torch.equal(o, torch.arange(len(o)))}
    for name, order in moved.items():
        permute_internal_channels(model, channels[name], order)
    return PermutationReport(moved, search.total, before, best)


class _Search:
    """Row groups of all layers, and the budgets of blocks they share."""

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        rows: int,
        density: float | Mapping[str, float],
    ) -> None:
        self.groups = {}
        self.total = 0.0
        for name in names:
            weight: Tensor = model.get_submodule(name).weight  # type: ignore[assignment]
            magnitude = flatten_tap_major(weight.detach().cpu()).abs()
            self.total += float(magnitude.double().sum())
            self.groups[name] = RowGroups(magnitude, rows)
        blocks = {name: groups.scores.numel() for name, groups in self.groups.items()}
        # Layers that share one threshold, and how many of their blocks are kept.
        self.budgets: list[tuple[list[str], int]]
        if isinstance(density, Mapping):
            self.budgets = [([n], kept_count(density[n], blocks[n])) for n in names]
        else:
            self.budgets = [(list(names), kept_count(density, sum(blocks.values())))]

    def thresholds(self) -> dict[str, float]:
        """By layer, the least score that is kept; infinite where no block is."""
        found = {}
        for names, count in self.budgets:
            scores = self._pooled(names)
            least = float(scores.topk(count).values[-1]) if count else float("inf")
            found.update(dict.fromkeys(names, least))
        return found

    def kept(self) -> float:
        """Sum of the kept blocks' scores."""
        return sum(
            float(self._pooled(names).topk(count).values.sum()) for names, count in self.budgets
        )

    def _pooled(self, names: Sequence[str]) -> Tensor:
        return torch.cat([self.groups[name].scores.flatten() for name in names])


def _layer_names(
    model: nn.Module, density: float | Mapping[str, float], layers: Sequence[str] | None
) -> list[str]:
    """The layers to prune. Raises ValueError."""
    for value in density.values() if isinstance(density, Mapping) else [density]:
        check_density(value)
    if layers is None:
        if isinstance(density, Mapping):
            return list(density)
        if not isinstance(model, Backbone):
            raise ValueError("expected the names of the layers of a model that is no Backbone")
        return model.scope()
    if isinstance(density, Mapping) and set(density) != set(layers):
        raise ValueError(
            f"expected densities of the layers {sorted(layers)}, got those of {sorted(density)}"
        )
    return list(layers)

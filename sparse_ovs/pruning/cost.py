"""What a kept weight costs: multiply-accumulates, or the time that the engine takes for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from torch import Tensor, nn

from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling.contestants import layer_of
from sparse_ovs.profiling.macs import count_macs
from sparse_ovs.profiling.random_weights import calibrate_random_weights
from sparse_ovs.profiling.weight_uses import weight_uses
from sparse_ovs.pruning.controls import uniform_random_masks
from sparse_ovs.pruning.embedding import frozen_copy
from sparse_ovs.pruning.masks import apply
from sparse_ovs.quantization.compiled import compile_in

Unit = Literal["MACs", "seconds"]

# Densities between which a layer's time is measured: in the range that pruning is about, and apart
# enough for their difference to stand above the clock's noise.
_SPARSE, _DENSER = 0.05, 0.2
# Of the cost, in the ranking of weights.
RANKING_POWER = 0.5
# A rate may differ by this factor from the median of all layers; beyond it the clock was disturbed.
_MOST_UNUSUAL = 4.0


@dataclass(frozen=True)
class WeightCosts:
    """One forward's cost as a sum: what no pruning makes smaller, and a price for each kept weight.

    Attributes:
        unit: of all costs.
        per_weight: by the names of masks.
        fixed: of what is not in them, and of running a layer at all.
    """

    unit: Unit
    per_weight: Mapping[str, float]
    fixed: float

    def of(self, masks: Mapping[str, Tensor]) -> float:
        """Cost of one forward with these masks.

        Raises:
            ValueError: masks of other layers.
        """
        if set(masks) != set(self.per_weight):
            odd = sorted(set(masks) ^ set(self.per_weight))
            raise ValueError(f"expected masks of the layers with costs, got others: {odd[0]}")
        return self.fixed + sum(
            self.per_weight[name] * int(mask.sum()) for name, mask in masks.items()
        )


def ranking(costs: Mapping[str, float]) -> dict[str, float]:
    """What magnitudes are divided by to rank weights: the square root of what a weight costs.

    Pruning a weight w changes the squared error by about w^2 times a curvature (LeCun et al. 1989,
    Optimal Brain Damage, eq. 5). With equal curvatures the least error for a budget is kept by the
    largest w^2 / cost. Magnitude over the cost itself would keep more magnitude, and empties the
    early layers, whose weights cost a hundred times as much as the last ones'.
    """
    return {name: cost**RANKING_POWER for name, cost in costs.items()}


def mac_costs(model: nn.Module, example_input: Tensor, layers: Iterable[str]) -> WeightCosts:
    """MACs of a weight: how often one forward uses it.

    Args:
        model: dense.
        example_input: (N, C, H, W); a weight's MACs grow with its pixels.
        layers: module names of what is pruned, such as those of `default_scope`; the rest of the
            model and attention's products of tokens are the fixed part.

    Raises:
        ValueError: a layer without weights, or one that the forward does not use.
    """
    weights = named_weights(model, layers)
    uses = weight_uses(model, example_input, weights)
    if unused := [name for name in weights if name not in uses]:
        raise ValueError(f"expected layers that the forward uses, got {', '.join(unused)}")
    total = sum(layer.dense for layer in count_macs(model, example_input).values())
    inside = sum(uses[name] * weight.numel() for name, weight in weights.items())
    return WeightCosts("MACs", {name: float(uses[name]) for name in weights}, total - inside)


def time_costs(
    model: nn.Module,
    example_input: Tensor,
    layers: Iterable[str],
    pattern: str = "unstructured",
    threads: int | None = None,
    rounds: int = 9,
    seed: int = 0,
    precision: str = "fp32",
) -> WeightCosts:
    """Seconds of a kept weight: how much longer its layer runs in the engine for one weight more.

    The encoder is compiled with random masks of density 0.05 and 0.2 in every layer, and each
    layer's step is timed in both; the slope of time over kept weights is the price, what remains
    the fixed part. Slopes that differ more than fourfold from the median time of a MAC are taken
    for noise and cut to that.

    Args:
        model: dense, in eval mode; not changed.
        example_input: (N, C, H, W) float32 on the CPU.
        layers: module names of what is pruned.
        pattern: that the masks will have.
        threads: of the engine; None takes its setting.
        rounds: timed forwards at each density.
        seed: of the random masks.
        precision: that the engine computes in, see compile.

    Raises:
        ValueError: a layer without weights, or one that is no step of the plan.
        RuntimeError: the native library is missing.
    """
    layers = list(layers)
    weights = named_weights(model, layers)
    kept: list[dict[str, int]] = []
    spent: list[dict[str, float]] = []
    totals: list[float] = []
    for density in (_SPARSE, _DENSER):
        masks = {
            name: _random_mask(weight.shape, pattern, density, seed)
            for name, weight in weights.items()
        }
        pruned = frozen_copy(model)
        apply(pruned, masks)
        # A branch that ends in a BatchNorm of zeros, as fresh ones do, would fold to nothing.
        calibrate_random_weights(pruned, example_input)
        fast = compile_in(precision, pruned, example_input, threads, [example_input])
        plan = fast.plan_for(example_input).measure(rounds)
        kept.append({name: int(mask.sum()) for name, mask in masks.items()})
        spent.append(_seconds(plan, model, layers))
        totals.append(sum(row.seconds or 0.0 for row in plan.rows()))
    if missing := [name for name in weights if name not in spent[0] or name not in spent[1]]:
        raise ValueError(f"expected layers that are steps of the plan, got {', '.join(missing)}")

    uses = weight_uses(model, example_input, weights)
    rates = {
        name: (spent[1][name] - spent[0][name]) / (kept[1][name] - kept[0][name]) / uses[name]
        for name in weights
    }
    usual = max(median(rates.values()), 1e-15)
    per_weight = {
        name: min(max(rate, usual / _MOST_UNUSUAL), usual * _MOST_UNUSUAL) * uses[name]
        for name, rate in rates.items()
    }
    fixed = [
        total - sum(per_weight[name] * count for name, count in counts.items())
        for total, counts in zip(totals, kept, strict=True)
    ]
    return WeightCosts("seconds", per_weight, max(0.0, sum(fixed) / 2))


def _random_mask(shape: Any, pattern: str, density: float, seed: int) -> Tensor:
    return uniform_random_masks({"": shape}, pattern, density, seed=seed)[""]


def _seconds(plan: Any, model: nn.Module, layers: Iterable[str]) -> dict[str, float]:
    """Measured seconds of each layer's step, by the names of masks."""
    steps: dict[str, list[float]] = {}
    for row in plan.rows():
        if row.seconds is not None and row.op.startswith("conv "):
            steps.setdefault(layer_of(row), []).append(row.seconds)
    found = {}
    for layer in layers:
        if layer not in steps:
            continue
        if isinstance(model.get_submodule(layer), nn.MultiheadAttention):
            found[f"{layer}.in_proj"], found[f"{layer}.out_proj"] = (
                steps[layer][0],
                steps[layer][-1],
            )
        else:
            found[layer] = sum(steps[layer])
    return found

"""prune_layer: the weights of one layer that stay, and what the others' loss does to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sparse_ovs.compression.layer_problem import LayerProblem

Method = Literal["auto", "exact", "blocked"]


@dataclass(frozen=True)
class PrunedLayer:
    """One layer's weights after pruning.

    Attributes:
        weight: (groups, rows, columns), of the dense weight's dtype, zero outside the mask.
        mask: bool, of the same shape, True = kept.
        loss: mean squared error of the outputs, of LayerProblem.loss.
    """

    weight: Tensor
    mask: Tensor
    loss: float


def prune_layer(
    problem: LayerProblem,
    density: float,
    pattern: str = "unstructured",
    method: Method = "auto",
    damping: float = 0.01,
) -> PrunedLayer:
    """Prunes a layer to a density, and changes the weights that stay so that its outputs stay.

    Args:
        problem: the layer's weights and moments.
        density: kept fraction of the units, 0 to 1: floor(density * units) stay. For n:m it must
            be n / m.
        pattern: "unstructured", "block4x1" (any Rx1: neighbouring rows share a column) or "n:m".
        method: "exact", greedy Optimal Brain Surgeon; "blocked" for layers of many columns; "auto"
            by the layer's size.
        damping: of the gram, see LayerProblem.damped_gram.

    Raises:
        ValueError: a density out of its range, or another pattern or method.
    """
    raise NotImplementedError


def loss_curve(
    problem: LayerProblem,
    densities: Sequence[float],
    pattern: str = "unstructured",
    method: Method = "auto",
    damping: float = 0.01,
) -> list[float]:
    """What prune_layer's loss would be at each density: from one trace where it is exact, else one
    pruning a density.

    Args and errors as prune_layer.
    """
    raise NotImplementedError

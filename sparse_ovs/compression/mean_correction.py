"""Mean correction: what a compressed layer's bias has to add so that its outputs' means stay."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.compression.layer_problem import LayerProblem


def corrected_bias(problem: LayerProblem, weight: Tensor) -> Tensor:
    """float64 (output channels,): to be added to the layer's bias, so that with these weights the
    mean of its outputs over the samples is the dense layer's. Of a layer without one it goes to
    what follows: with BatchNorm, times its weight / sqrt(running_var + eps), to its bias.

    Args:
        weight: (groups, rows, columns): the compressed weights.
    """
    dense = torch.einsum("grc,gc->gr", problem.weight.double(), problem.dense_mean)
    compressed = torch.einsum("grc,gc->gr", weight.double(), problem.compressed_mean)
    return (dense - compressed).flatten()

"""Rounds a layer's weights to s8 so that each error is made good by the weights still to round."""

from __future__ import annotations

from torch import Tensor

from sparse_ovs.compression.layer_problem import LayerProblem


def round_to_s8(
    problem: LayerProblem,
    weight: Tensor,
    mask: Tensor,
    scales: Tensor | None = None,
    damping: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Weights on the s8 grid of their output channel, zero outside the mask.

    Args:
        problem: the layer's dense weights and moments.
        weight: (groups, rows, columns): pruned weights.
        mask: bool, of the same shape, True = kept.
        scales: float32 (output channels,); None: of `weight`, as `quantize` chooses them. Hand what
            is returned on to the Quantization: a channel's largest number need not be 127.
        damping: of the gram, see LayerProblem.damped_gram.

    Returns:
        The weights, each a whole number from -127 to 127 times its channel's scale, of weight's
        shape and dtype, and the scales.
    """
    raise NotImplementedError

"""Makes randomly initialised encoders worth comparing: no branch is switched off."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# Pixels on a side: the last stage, at stride 32, still sees enough of them for its statistics.
_CALIBRATION_SIZE = 224
# Of the BatchNorm that ends a residual branch: the branch counts, the sum stays well conditioned.
_RESIDUAL_GAMMA = 0.25


def calibrate_random_weights(model: nn.Module, x: Tensor) -> None:
    """Lets every branch of a freshly initialised model reach its output, in place; leaves it in
    eval mode.

    open_clip starts the last BatchNorm of each bottleneck at gamma 0 and ConvNeXt's layer scale at
    1e-6: two models would agree whatever their branches compute. Both are raised, and BatchNorms
    take the mean and variance of what they see, so that no branch fades or explodes.

    Args:
        model: dense, with its final (pruned) weights.
        x: (N, 3, H, W); a corner of it is used, repeated where it is small.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and name.rpartition(".")[2] == "gamma":
                parameter.fill_(1.0)
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average of what is seen
            if norm.affine:
                # At 1, a random residual network amplifies rounding errors from block to block.
                norm.weight.masked_fill_(norm.weight == 0, _RESIDUAL_GAMMA)
        model.train()
        model(_calibration_input(x))
        model.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _calibration_input(x: Tensor) -> Tensor:
    """A square of that size; cropping and tiling leave the distribution of the pixels alone."""
    height, width = x.shape[-2:]
    tiles = (1, 1, -(-_CALIBRATION_SIZE // height), -(-_CALIBRATION_SIZE // width))
    return x.repeat(tiles)[..., :_CALIBRATION_SIZE, :_CALIBRATION_SIZE]

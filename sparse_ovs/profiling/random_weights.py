"""Makes randomly initialised encoders worth comparing: no branch is switched off."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# Statistics need no more pixels than this on a side.
_CALIBRATION_SIZE = 128


def calibrate_random_weights(model: nn.Module, x: Tensor) -> None:
    """Lets every branch of a freshly initialised model reach its output, in place; leaves it in
    eval mode.

    open_clip starts the last BatchNorm of each bottleneck at gamma 0 and ConvNeXt's layer scale at
    1e-6: two models would agree whatever their branches compute. Gammas become 1, and BatchNorms
    take the mean and variance of what they see, so that no branch fades or explodes.

    Args:
        model: dense, with its final (pruned) weights.
        x: (N, 3, H, W); shrunk where it is large.
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
                norm.weight.fill_(1.0)
        height, width = (min(side, _CALIBRATION_SIZE) for side in x.shape[-2:])
        model.train()
        model(F.interpolate(x, (height, width), mode="bilinear", antialias=True))
        model.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

"""Estimates BatchNorm's statistics anew, after pruning has moved what the layers see."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def recalibrate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Sets every running mean and variance to the plain average over the batches, in place.

    A step of its own, between pruning and whatever comes next: no gradients, no labels. It is the
    average of the batches' means and (unbiased) variances, each batch counting the same (torch's
    momentum None), not an exponential average that remembers the dense network and the order.
    Batches of one size, as large as fits, are best: the spread between batch means is no part of
    the variance.

    While it runs, BatchNorm normalises by the batch, as in training, and all else (dropout, drop
    path) is in eval mode. Afterwards weights, gradients, momenta and modes are as before; a failure
    in between leaves the old statistics too.

    Args:
        model: with BatchNorm layers that keep running statistics, on the batches' device.
        batches: images (N, 3, H, W) each, prepared as for the model; in the same order, they give
            the same bits.

    Returns:
        The number of images seen.

    Raises:
        ValueError: a model without such layers, or no batches.
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
    if not norms:
        raise ValueError("expected a model with BatchNorm layers that keep statistics, got none")
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    buffers = [{name: b.clone() for name, b in norm.named_buffers()} for norm in norms]
    try:
        # Set directly: .train() of modules that fold or freeze would do more than switch the mode.
        for module in modes:
            module.training = False
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.training = True
        images = 0
        with torch.no_grad():
            for batch in batches:
                model(batch)
                images += len(batch)
        if not images:
            raise ValueError("expected at least one batch of images, got none")
        return images
    except BaseException:
        for norm, saved in zip(norms, buffers, strict=True):
            for name, buffer in norm.named_buffers():
                buffer.copy_(saved[name])
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode

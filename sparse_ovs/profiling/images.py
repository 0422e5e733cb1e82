"""Procedural images for times and scales where no photos are at hand: smooth, as photos are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Of each octave against the one before: a photo's spectrum falls about as steeply.
_FADE = 0.6


def smooth_images(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Noise of all octaves, the finer the fainter; as normalised pixels, with mean 0 and variance 1
    in every channel.

    Maps of white noise are alike everywhere; scales of int8 that suit them suit no picture.

    Args:
        size: (H, W) in pixels.
        seed: the same images on every machine.

    Returns:
        (count, 3, H, W) float32.
    """
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, 3, *size)
    side, strength = 2, 1.0
    while side <= max(size):
        coarse = torch.randn(count, 3, side, side, generator=generator)
        total += strength * F.interpolate(coarse, size, mode="bilinear", align_corners=False)
        side, strength = 2 * side, _FADE * strength
    flat = total.flatten(2)
    mean, deviation = flat.mean(2), flat.std(2, correction=0).clamp_min(1e-6)
    return (total - mean[..., None, None]) / deviation[..., None, None]

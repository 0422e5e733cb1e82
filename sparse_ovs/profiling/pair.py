"""A sparse encoder and its dense twin with the same zeros: what profiles and demos compare."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.nn import densify
from sparse_ovs.profiling.random_weights import calibrate_random_weights


@dataclass(frozen=True)
class EncoderPair:
    """Both in eval mode, with equal weights.

    Attributes:
        sparse: swapped modules, nothing folded.
        dense: plain torch modules, zeros in their weights.
        density: the one asked for, or "weights".
        pattern: as asked for.
        profile: how the density is spread over the layers; None with "weights".
        weights: where they are from, in a word.
    """

    sparse: Backbone
    dense: nn.Module
    density: float | str
    pattern: str
    profile: str | None
    weights: str

    def to(self, device: torch.device) -> EncoderPair:
        """Both encoders moved to a device, in channels_last where that is a GPU."""
        for encoder in (self.sparse, self.dense):
            encoder.to(device)
            if device.type == "cuda":
                encoder.to(memory_format=torch.channels_last)
        return self


def make_pair(
    model: str,
    x: Tensor,
    density: float | str = 0.1,
    pattern: str = "unstructured",
    pretrained: str | os.PathLike[str] | None = None,
    profile: str | os.PathLike[str] = "uniform",
    output_stride: int | None = None,
) -> EncoderPair:
    """Creates an encoder twice, pruned alike.

    Random weights are calibrated on `x`, so that every branch of the encoder reaches its output.

    Args:
        model: an open_clip model (see create_backbone).
        x: (N, 3, H, W).
        density: kept fraction of the default scope, or "weights" for the zeros of `pretrained`.
        pattern: see make_mask.
        pretrained: see create_backbone; None gives random weights.
        profile: densities by layer (see load_density_profile).
        output_stride: of a ResNet (see create_backbone).

    Raises:
        ValueError, TypeError, FileNotFoundError, PretrainedUnavailable: as create_backbone.
    """
    sparse = create_backbone(
        model, pretrained, density, pattern, profile=profile, output_stride=output_stride
    )
    dense = densify(copy.deepcopy(sparse)).eval()
    if pretrained is None:
        calibrate_random_weights(dense, x)
        sparse.load_state_dict(dense.state_dict())
    spread = None if density == "weights" else str(profile)
    weights = "random" if pretrained is None else str(pretrained)
    return EncoderPair(sparse.eval(), dense, density, pattern, spread, weights)

"""A ResNet trunk in miniature, of the same parts as CLIP's."""

from __future__ import annotations

import copy

import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from sparse_ovs.backbones.clip_parts import ClipParts
from sparse_ovs.backbones.frozen_prefix import PrefixReport
from sparse_ovs.backbones.resnet import ResNetTrunk
from sparse_ovs.spectral import Freezing, freeze

STEM = ("conv1", "conv2", "conv3")
TO_BLOCK = (*STEM, "layer1.", "layer2.0.")


def small_trunk(out_indices: tuple[int, ...] = (1, 2, 3, 4)) -> ResNetTrunk:
    """Two blocks in layer1 and layer2, one in layer3 and layer4, width 8; in training mode, with
    statistics that are not those of a new BatchNorm."""
    torch.manual_seed(4)
    visual = ModifiedResNet([2, 2, 1, 1], 16, 2, image_size=32, width=8)
    trunk = ResNetTrunk(visual, out_indices)
    trunk.clip = ClipParts("small", nn.ModuleDict({"visual": visual}))
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return trunk.train()


def convs(trunk: nn.Module, *before: str) -> list[str]:
    """Names of the convolutions that begin with one of these; all without any."""
    return [
        name
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Conv2d) and name.startswith(before or "")
    ]


def image(*, size: int = 64, batch: int = 2, seed: int = 0) -> Tensor:
    """(batch, 3, size, size), the same each time."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def frozen_trunk(
    before: tuple[str, ...] = TO_BLOCK, out_indices: tuple[int, ...] = (1, 2, 3, 4)
) -> tuple[ResNetTrunk, Freezing]:
    """A trunk whose convolutions that begin with one of these are frozen with their norms."""
    trunk = small_trunk(out_indices)
    return trunk, freeze(trunk, convs(trunk, *before), norms=True)


def without_prefix(trunk: ResNetTrunk) -> ResNetTrunk:
    """A copy that runs all of it in torch."""
    twin = copy.deepcopy(trunk)
    twin.prefix = None
    return twin


def report(trunk: ResNetTrunk) -> PrefixReport:
    """Of the trunk's prefix, which it has to have."""
    assert trunk.prefix is not None
    return trunk.prefix.report()


def runs_as_plan(trunk: ResNetTrunk) -> bool:
    """Whether the prefix does in a forward with gradients."""
    trunk(image())
    return report(trunk).planned

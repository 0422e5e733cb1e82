"""A ResNet trunk in miniature, of the same parts as CLIP's."""

from __future__ import annotations

import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from sparse_ovs.backbones.clip_parts import ClipParts
from sparse_ovs.backbones.resnet import ResNetTrunk


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

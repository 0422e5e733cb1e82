"""Vision transformers and ConvNeXts in miniature, pruned."""

from __future__ import annotations

from collections.abc import Callable

import open_clip
import timm
import torch
from torch import nn

from support.oracles import random_mask


def prune(model: nn.Module, density: float = 0.3, pattern: str = "block4x1") -> nn.Module:
    """Zeros in every matrix but convolutions' and the last projection's; branches that count."""
    for seed, (name, parameter) in enumerate(model.named_parameters()):
        if parameter.dim() == 2 and name.endswith("weight"):
            parameter.data *= random_mask(parameter.shape, density, pattern, seed)
        elif parameter.dim() == 1:
            generator = torch.Generator().manual_seed(seed)
            parameter.data = torch.randn(parameter.shape, generator=generator)
    return model.eval()


def vit(act: Callable[..., nn.Module] = nn.GELU, **options: object) -> nn.Module:
    """open_clip's vision transformer in miniature: 16 + 1 tokens at 32 pixels, projected."""
    config = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 3, "heads": 4}
    tower = open_clip.transformer.VisionTransformer(
        **config, mlp_ratio=2.0, output_dim=20, act_layer=act, **options
    )
    return prune(tower)


def convnext(**options: object) -> nn.Module:
    """timm's ConvNeXt in miniature: four maps, or a head."""
    return prune(
        timm.create_model(
            "convnext_atto", depths=(1, 1, 2, 1), dims=(8, 12, 16, 24), ls_init_value=1.0, **options
        )
    )

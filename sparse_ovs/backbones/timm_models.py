"""Registers sparse_resnet50_clip with timm, which gives smp and torchvision heads for free."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from timm.models import byobnet, register_model
from torch import Tensor, nn

from sparse_ovs.backbones.bottlenecks import order_channels
from sparse_ovs.backbones.masks import fit_masks, read_given
from sparse_ovs.nn import sparsify
from sparse_ovs.nn.named_weights import weight_owners

__all__ = ["sparse_resnet50_clip"]


@register_model
def sparse_resnet50_clip(
    pretrained: bool = False,
    density: float | None = None,
    pattern: str = "unstructured",
    mask: str | os.PathLike[str] | Mapping[str, Tensor] | None = None,
    engine: str = "auto",
    fold_bn: bool | str = False,
    **kwargs: Any,
) -> nn.Module:
    """timm's resnet50_clip whose 52 convolutions of the stages are sparse.

    Takes timm's keywords (features_only, out_indices, output_stride, ...) beside those of
    `sparse_ovs.create_backbone`; masks go by any framework's layer names.
    """
    model = byobnet.resnet50_clip(pretrained=pretrained, **kwargs)
    if mask is not None:
        given = read_given(mask)
        masks = fit_masks(model, given.masks)
        order_channels(model, given.orders)
        sparsify(model, pattern, None, engine=engine, fold_bn=fold_bn, masks=masks)
    elif density is not None:
        scope = [name for name in weight_owners(model) if name.startswith("stages")]
        densities = dict.fromkeys(scope, density)
        sparsify(model, pattern, densities, engine=engine, fold_bn=fold_bn)
    return model

"""Registers sparse_resnet50_clip with timm, which gives smp and torchvision heads for free."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from timm.models import byobnet, register_model
from torch import Tensor, nn

from sparse_ovs.backbones.masks import load_masks
from sparse_ovs.nn import sparsify

__all__ = ["sparse_resnet50_clip"]

_CONVS = {
    "conv1_1x1.conv": "conv1",
    "conv2_kxk.conv": "conv2",
    "conv3_1x1.conv": "conv3",
    "shortcut.conv.conv": "downsample.0",
}


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
    `sparse_ovs.create_backbone`; masks go by open_clip's or by timm's layer names.
    """
    model = byobnet.resnet50_clip(pretrained=pretrained, **kwargs)
    names = {
        _open_clip_name(name): name for name, _ in model.named_modules() if _open_clip_name(name)
    }
    if mask is not None:
        masks = {names.get(name, name): value for name, value in load_masks(mask).items()}
        sparsify(model, pattern, None, engine=engine, fold_bn=fold_bn, masks=masks)
    elif density is not None:
        densities = dict.fromkeys(names.values(), density)
        sparsify(model, pattern, densities, engine=engine, fold_bn=fold_bn)
    return model


def _open_clip_name(name: str) -> str:
    """stages.0.1.conv2_kxk.conv, or stages_0.1... under features_only -> layer1.1.conv2; "" for
    other modules."""
    stage, _, rest = name.replace("stages_", "stages.").removeprefix("stages.").partition(".")
    block, _, conv = rest.partition(".")
    if not name.startswith("stages") or conv not in _CONVS:
        return ""
    return f"layer{int(stage) + 1}.{block}.{_CONVS[conv]}"

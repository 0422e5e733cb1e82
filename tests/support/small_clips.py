"""CLIP in miniature: encoders of each family of open_clip, with random weights."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.profiling.random_weights import calibrate_random_weights

RN, VIT, CONVNEXT = "small-rn", "small-vit", "small-convnext"
DEEP_RN = "small-deep-rn"  # with blocks after the one that holds the stride
_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
_CONFIGS: dict[str, dict[str, Any]] = {
    RN: {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    DEEP_RN: {"image_size": 64, "layers": [1, 1, 2, 2], "width": 8, "patch_size": None},
    VIT: {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8},
    CONVNEXT: {
        "image_size": 64,
        "timm_model_name": "convnext_atto",
        "timm_pool": "",
        "timm_proj": "linear",
    },
}


@functools.cache
def register_small_clips() -> None:
    """Makes open_clip know both by name."""
    with tempfile.TemporaryDirectory() as folder:
        for name, vision in _CONFIGS.items():
            config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": _TEXT}
            Path(folder, f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder)


def small_backbone(name: str = RN, density: float | None = None, **options: Any) -> Backbone:
    """Random weights, the same each time, with branches that count."""
    register_small_clips()
    torch.manual_seed(5)
    backbone = create_backbone(name, density=density, **options)
    calibrate_random_weights(backbone, torch.randn(1, 3, 64, 64))
    for module in backbone.clip.model.modules():  # open_clip starts biases at 0
        for key, parameter in module.named_parameters(recurse=False):
            if key.endswith("bias") and not isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(parameter, -0.2, 0.2)
    return backbone.eval()

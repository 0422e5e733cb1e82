"""CLIP image encoders as backbones, sparse or dense, with timm's features_only contract."""

from sparse_ovs.backbones.clip_parts import ClipParts
from sparse_ovs.backbones.create import create_backbone
from sparse_ovs.backbones.density_profile import load_density_profile
from sparse_ovs.backbones.masks import fit_masks, load_masks, rename_masks
from sparse_ovs.backbones.swap import SwapReport, swap_backbone
from sparse_ovs.backbones.trunk import Backbone, Level, default_scope
from sparse_ovs.backbones.weights import PretrainedUnavailable

__all__ = [
    "Backbone",
    "ClipParts",
    "Level",
    "PretrainedUnavailable",
    "SwapReport",
    "create_backbone",
    "default_scope",
    "fit_masks",
    "load_density_profile",
    "load_masks",
    "rename_masks",
    "swap_backbone",
]

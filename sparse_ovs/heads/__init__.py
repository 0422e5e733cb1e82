"""Heads: what turns an encoder's maps and a vocabulary's embeddings into scores by class."""

from sparse_ovs.heads.deeplab import DeepLabSizes, DeepLabV3, DeepLabV3Plus
from sparse_ovs.heads.fcclip import FCCLIP, FCCLIPSizes
from sparse_ovs.heads.fcclip_files import load_fcclip
from sparse_ovs.heads.grounding import grounding_loss
from sparse_ovs.heads.head import Head, PixelHead
from sparse_ovs.heads.loss_settings import MaskLossSettings
from sparse_ovs.heads.mask_head import MaskHead
from sparse_ovs.heads.mask_output import MaskOutput
from sparse_ovs.heads.mask_sizes import MaskSizes
from sparse_ovs.heads.maskclip import MaskCLIP
from sparse_ovs.heads.maskformer import MaskFormer
from sparse_ovs.heads.normaliser import shared_count
from sparse_ovs.heads.regions import Regions, regions_from_labels
from sparse_ovs.heads.registry import HEADS, create_head, find_head, register_head
from sparse_ovs.heads.sizes import Sizes

__all__ = [
    "FCCLIP",
    "HEADS",
    "DeepLabSizes",
    "DeepLabV3",
    "DeepLabV3Plus",
    "FCCLIPSizes",
    "Head",
    "MaskCLIP",
    "MaskFormer",
    "MaskHead",
    "MaskLossSettings",
    "MaskOutput",
    "MaskSizes",
    "PixelHead",
    "Regions",
    "Sizes",
    "create_head",
    "find_head",
    "grounding_loss",
    "load_fcclip",
    "regions_from_labels",
    "register_head",
    "shared_count",
]

"""Heads: what turns an encoder's maps and a vocabulary's embeddings into scores by class."""

from sparse_ovs.heads.deeplab import DeepLabSizes, DeepLabV3, DeepLabV3Plus
from sparse_ovs.heads.head import Head, PixelHead
from sparse_ovs.heads.maskclip import MaskCLIP
from sparse_ovs.heads.normaliser import shared_count
from sparse_ovs.heads.registry import HEADS, create_head, find_head
from sparse_ovs.heads.sizes import Sizes

__all__ = [
    "HEADS",
    "DeepLabSizes",
    "DeepLabV3",
    "DeepLabV3Plus",
    "Head",
    "MaskCLIP",
    "PixelHead",
    "Sizes",
    "create_head",
    "find_head",
    "shared_count",
]

"""Heads: what turns an encoder's maps and a vocabulary's embeddings into scores by class."""

from sparse_ovs.heads.head import Head, PixelHead
from sparse_ovs.heads.maskclip import MaskCLIP
from sparse_ovs.heads.registry import HEADS, create_head, find_head

__all__ = ["HEADS", "Head", "MaskCLIP", "PixelHead", "create_head", "find_head"]

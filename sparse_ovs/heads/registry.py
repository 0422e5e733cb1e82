"""Heads by name."""

from __future__ import annotations

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads.head import Head
from sparse_ovs.heads.maskclip import MaskCLIP

HEADS: dict[str, type[Head]] = {MaskCLIP.name: MaskCLIP}


def find_head(name: str) -> type[Head]:
    """Raises ValueError for an unknown name."""
    if name not in HEADS:
        raise ValueError(f"expected a head of {', '.join(HEADS)}, got {name!r}")
    return HEADS[name]


def create_head(name: str, backbone: Backbone) -> Head:
    """A head for that backbone, in eval mode.

    Raises:
        ValueError: an unknown name, or a backbone that the head cannot use.
    """
    return find_head(name)(backbone).eval()

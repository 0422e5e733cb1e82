"""Heads by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads.deeplab import DeepLabV3, DeepLabV3Plus
from sparse_ovs.heads.fcclip import FCCLIP
from sparse_ovs.heads.head import Head
from sparse_ovs.heads.maskclip import MaskCLIP
from sparse_ovs.heads.maskformer import MaskFormer
from sparse_ovs.heads.sizes import choose_sizes

HEADS: dict[str, type[Head]] = {
    kind.name: kind for kind in (MaskCLIP, MaskFormer, FCCLIP, DeepLabV3, DeepLabV3Plus)
}


def find_head(name: str) -> type[Head]:
    """Raises ValueError for an unknown name."""
    if name not in HEADS:
        raise ValueError(f"expected a head of {', '.join(HEADS)}, got {name!r}")
    return HEADS[name]


def create_head(
    name: str, backbone: Backbone, sizes: str | Mapping[str, Any] | None = None
) -> Head:
    """A head for that backbone, in eval mode.

    Args:
        name: in HEADS.
        sizes: a name in the head's `presets`, or those that differ from the paper's; None takes the
            paper's.

    Raises:
        ValueError: an unknown name, unknown sizes, or a backbone that the head cannot use.
    """
    kind = find_head(name)
    return kind(backbone, choose_sizes(kind.presets, sizes, name)).eval()

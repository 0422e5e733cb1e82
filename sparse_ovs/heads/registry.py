"""Heads by name, and how others add theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads.deeplab import DeepLabV3, DeepLabV3Plus
from sparse_ovs.heads.fcclip import FCCLIP
from sparse_ovs.heads.head import Head
from sparse_ovs.heads.maskclip import MaskCLIP
from sparse_ovs.heads.maskformer import MaskFormer
from sparse_ovs.heads.sizes import choose_sizes
from sparse_ovs.registry import Registry


def _check(kind: type[Head]) -> None:
    told = getattr(kind, "probabilities", None)
    if not isinstance(told, bool):
        raise TypeError(
            f"expected `probabilities` of True or False for head {kind.__name__}, got {told!r}"
        )
    if "paper" not in kind.presets:
        raise ValueError(
            f"expected presets with 'paper' for head {kind.__name__}, got "
            f"{', '.join(kind.presets) or 'none'}"
        )


_REGISTRY: Registry[Head] = Registry(Head, "head", _check)  # type: ignore[type-abstract]
HEADS: dict[str, type[Head]] = _REGISTRY
HeadType = TypeVar("HeadType", bound=type[Head])


def register_head(kind: HeadType) -> HeadType:
    """Makes a head known by its `name`: to `create_head`, `create_segmenter`, files of segmenters,
    recipes and commands of this process. As a decorator of the class, or called with it.

    Files and worker processes find the head where the module that registers it is imported first.

    Args:
        kind: a subclass of Head that sets `name` and `probabilities`; `name` is new, of letters,
            digits, "_", "-" and ".".

    Returns:
        The same class.

    Raises:
        TypeError: no such class, or one that lacks methods or `probabilities`.
        ValueError: a name that is none, or that another head has, or presets without "paper".
    """
    _REGISTRY.add(kind)
    return kind


for _kind in (MaskCLIP, MaskFormer, FCCLIP, DeepLabV3, DeepLabV3Plus):
    register_head(_kind)


def find_head(name: str) -> type[Head]:
    """Raises ValueError for an unknown name."""
    return _REGISTRY.find(name)


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

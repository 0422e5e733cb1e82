"""Layers together: what is frozen may be a layer, a block or a stage."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

LEVELS = ("layer", "block", "stage")

_RESNET = re.compile(r"(layer\d+)\.(\d+)\..+")
_CONVNEXT = re.compile(r"(stages\.\d+)\.(blocks\.\d+|downsample)\..+")
_VIT = re.compile(r"transformer\.resblocks\.(\d+)\..+")
_VIT_STAGES = 4


def group_layers(names: Sequence[str], level: str) -> dict[str, list[str]]:
    """Layers by the group that they belong to.

    A block is a bottleneck of a ResNet, a block of a ConvNeXt or ViT; a stage is `layer1` to
    `layer4`, `stages.0` to `stages.3`, or a quarter of a ViT's blocks. Everything else, the stem
    first of all, is one group "stem" on both levels.

    Args:
        names: canonical.

    Raises:
        ValueError: another level than "layer", "block" and "stage".
    """
    check_level(level)
    if level == "layer":
        return {name: [name] for name in names}
    depth = 1 + max((int(found[1]) for name in names if (found := _VIT.fullmatch(name))), default=0)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_group(name, level, depth)].append(name)
    return dict(groups)


def check_level(level: str) -> None:
    """Raises ValueError for another level than those of LEVELS."""
    if level not in LEVELS:
        raise ValueError(f"expected a level of {', '.join(LEVELS)}, got {level!r}")


def group_means(
    groups: Mapping[str, Sequence[str]], values: Mapping[str, float]
) -> dict[str, float]:
    """Mean value of each group's layers, every layer counted once."""
    return {group: sum(values[n] for n in names) / len(names) for group, names in groups.items()}


def group_sums(
    groups: Mapping[str, Sequence[str]], values: Mapping[str, float]
) -> dict[str, float]:
    """Sum of each group's layers."""
    return {group: sum(values[n] for n in names) for group, names in groups.items()}


def _group(name: str, level: str, depth: int) -> str:
    if found := (_RESNET.fullmatch(name) or _CONVNEXT.fullmatch(name)):
        return found[1] if level == "stage" else f"{found[1]}.{found[2]}"
    if found := _VIT.fullmatch(name):
        block = int(found[1])
        if level == "block":
            return f"transformer.resblocks.{block}"
        return f"quarter {block * _VIT_STAGES // depth + 1}"
    return "stem"

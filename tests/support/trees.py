"""Small models whose modules lie where frameworks have them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def tree(layers: Mapping[str, nn.Module]) -> nn.Module:
    """A module with each layer at the end of its dotted path."""
    root = nn.Module()
    for name, layer in layers.items():
        *path, leaf = name.split(".")
        owner = root
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        owner.add_module(leaf, layer)
    return root

"""What wrappers such as DistributedDataParallel and torch.compile put around a model's names."""

from __future__ import annotations

from collections.abc import Container

from torch import nn

from sparse_ovs.formats import WRAPPERS


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside its wrappers; itself where there are none."""
    while [f"{name}." for name, _ in model.named_children()] in ([w] for w in WRAPPERS):
        model = next(model.children())
    return model


def bare_name(name: str, known: Container[str]) -> str:
    """The name without the wrappers' prefixes, unless it is known with them."""
    while name not in known and name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name

"""Resolves others' pruned weights, so that `.weight` is the dense tensor with zeros."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize, prune


def resolve_pruned(module: nn.Module) -> None:
    """Turns torch.nn.utils.prune pairs (`weight_orig`, `weight_mask`) and parametrizations into
    plain parameters."""
    suffix = "_orig"
    for name in [n.removesuffix(suffix) for n in module._parameters if n.endswith(suffix)]:
        if f"{name}_mask" in module._buffers:
            prune.remove(module, name)
    if parametrize.is_parametrized(module):
        for name in list(module.parametrizations):  # type: ignore[union-attr,arg-type]
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)

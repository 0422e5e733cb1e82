"""Keeps torch's transformer fast path from reading weights past sparse modules."""

from __future__ import annotations

from torch import nn

from sparse_ovs.nn.structure import SparseWeight

# The attribute whose falsity closes the fast path of each class.
_SWITCHES = {
    nn.TransformerEncoderLayer: ("activation_relu_or_gelu", 0),
    nn.TransformerEncoder: ("use_nested_tensor", False),
}
_KEPT = "_sparse_ovs_fast_path"


def close_fast_paths(model: nn.Module) -> None:
    """Makes transformer encoders with sparse layers call their children; the fused kernel would run
    the weights dense, zeros and all."""
    for module in model.modules():
        for kind, (name, closed) in _SWITCHES.items():
            if (
                isinstance(module, kind)
                and _KEPT not in module.__dict__
                and any(isinstance(child, SparseWeight) for child in module.modules())
            ):
                module.__dict__[_KEPT] = getattr(module, name)
                setattr(module, name, closed)


def open_fast_paths(model: nn.Module) -> None:
    """Undoes close_fast_paths."""
    for module in model.modules():
        for kind, (name, _) in _SWITCHES.items():
            if isinstance(module, kind) and _KEPT in module.__dict__:
                setattr(module, name, module.__dict__.pop(_KEPT))

"""The weights of a model under the names that masks go by."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def weight_owners(model: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """(module, name of its parameter) of every weight that a mask can cover, by the mask's name.

    That is the module's name for Conv2d and Linear, and `<name>.in_proj` and `<name>.out_proj` for
    MultiheadAttention; in module order.
    """
    owners: dict[str, tuple[nn.Module, str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            if module._qkv_same_embed_dim:
                owners[f"{name}.in_proj" if name else "in_proj"] = (module, "in_proj_weight")
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            owners[name] = (module, "weight")
    return owners


def named_weights(model: nn.Module, layers: Iterable[str]) -> dict[str, Tensor]:
    """The weights of the layers, by the names of their masks: an attention has two.

    Args:
        layers: module names, such as those of `default_scope`.

    Raises:
        ValueError: a name that is no Conv2d, Linear or MultiheadAttention.
    """
    owners = weight_owners(model)
    found = {}
    unknown = []
    for layer in layers:
        names = [
            name for name in (layer, f"{layer}.in_proj", f"{layer}.out_proj") if name in owners
        ]
        if not names:
            unknown.append(layer)
        for name in names:
            module, parameter = owners[name]
            found[name] = getattr(module, parameter)
    if unknown:
        raise ValueError(f"expected the names of layers with weights, got {', '.join(unknown)}")
    return found

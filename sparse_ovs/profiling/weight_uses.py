"""How often one forward uses the weights of each layer, attention's projections apart."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.profiling.macs import count_macs


def weight_uses(
    model: nn.Module, example_input: Tensor, weights: Mapping[str, Tensor]
) -> dict[str, int]:
    """How often one forward uses each weight: its MACs are that times its size.

    Args:
        model: runs in the mode that it is in, without gradients.
        example_input: (N, C, H, W).
        weights: by the names of masks (see `named_weights`).

    Returns:
        By the same names; a layer that is never called is absent.
    """
    counted = count_macs(model, example_input)
    uses = {
        name: counted[name].dense // weight.numel()
        for name, weight in weights.items()
        if name in counted
    }
    tokens: dict[str, int] = {}

    def attend(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            query = inputs[0] if inputs else keywords["query"]
            tokens[name] = tokens.get(name, 0) + prod(query.shape[:-1])

        return hook

    handles = [
        module.register_forward_pre_hook(attend(name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention)
    ]
    try:
        with torch.no_grad():
            model(example_input)
    finally:
        for handle in handles:
            handle.remove()
    for name, count in tokens.items():
        for part in (f"{name}.in_proj", f"{name}.out_proj"):
            if part in weights:
                uses[part] = count
    return uses

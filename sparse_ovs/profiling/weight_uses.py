"""How often one forward uses the weights of each layer, attention's projections apart."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.nn.named_weights import weight_owners
from sparse_ovs.profiling.hooks import hooked
from sparse_ovs.profiling.macs import output_positions


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
    uses: dict[str, int] = {}

    def see(names: list[str]) -> Any:
        def hook(
            module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any
        ) -> None:
            if isinstance(module, nn.MultiheadAttention):
                query = inputs[0] if inputs else keywords["query"]
                count = prod(query.shape[:-1])  # tokens
            else:
                count = output_positions(module, output)
            for name in names:
                uses[name] = uses.get(name, 0) + count

        return hook

    by_module: dict[nn.Module, list[str]] = {}
    for name, (module, _) in weight_owners(model).items():
        if name in weights:
            # An attention's output projection is called by the attention, not by itself.
            attention = name.removesuffix(".out_proj")
            owner = model.get_submodule(attention) if attention != name else module
            owner = owner if isinstance(owner, nn.MultiheadAttention) else module
            by_module.setdefault(owner, []).append(name)
    handles = [
        module.register_forward_hook(see(names), with_kwargs=True)
        for module, names in by_module.items()
    ]
    with hooked(handles), torch.no_grad():
        model(example_input)
    return {name: uses[name] for name in weights if name in uses}

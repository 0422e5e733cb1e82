"""Multiply-accumulates of each layer: dense, and what its non-zero weights leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from sparse_ovs.profiling.hooks import hooked

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class LayerMacs:
    """One layer's work in MACs (1 MAC = 1 multiply and 1 add), over the whole batch; biases are
    not counted."""

    dense: int
    sparse: int


def weighted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The convs, linears and attentions of a model by name, in the order of its modules.

    An attention is one layer: its output projection, a child module, is not listed again.
    """
    layers: dict[str, nn.Module] = {}
    inside = ""
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        if isinstance(module, (*_CONVS, nn.Linear, nn.MultiheadAttention)):
            layers[name] = module
            inside = f"{name}." if isinstance(module, nn.MultiheadAttention) else ""
    return layers


def layer_weights(module: nn.Module) -> list[Tensor]:
    """The weight matrices of one layer, those that its MACs run over."""
    if isinstance(module, nn.MultiheadAttention):
        if module.in_proj_weight is not None:
            return [module.in_proj_weight, module.out_proj.weight]
        return [
            module.q_proj_weight,
            module.k_proj_weight,
            module.v_proj_weight,
            module.out_proj.weight,
        ]
    weight = module.weight
    assert isinstance(weight, Tensor)
    return [weight]


def layer_density(module: nn.Module) -> float:
    """Fraction of the layer's weights that are not zero."""
    weights = layer_weights(module)
    return sum(_nonzeros(w) for w in weights) / sum(w.numel() for w in weights)


def count_macs(model: nn.Module, example_input: Tensor) -> dict[str, LayerMacs]:
    """MACs of each conv, linear and attention in one forward of `example_input`, by layer name.

    A weight is used once for each output position, so a layer costs (weights that are not zero) x
    (positions). Attention adds its two products with the tokens, which no pruning makes smaller. A
    layer that is called several times counts each call; one that is never called is absent.

    Args:
        model: any module; runs in the mode that it is in, without gradients.
        example_input: what the model takes, (N, C, H, W).
    """
    counted: dict[str, LayerMacs] = {}
    handles = [
        module.register_forward_hook(_counter(counted, name), with_kwargs=True)
        for name, module in weighted_layers(model).items()
    ]
    with hooked(handles), torch.no_grad():
        model(example_input)
    return counted


def _counter(counted: dict[str, LayerMacs], name: str) -> Callable[..., None]:
    def count(
        module: nn.Module, inputs: Sequence[Tensor], keywords: dict[str, Tensor], output: Tensor
    ) -> None:
        if isinstance(module, nn.MultiheadAttention):
            made = _attention_macs(module, inputs, keywords)
        else:
            weight, positions = layer_weights(module)[0], output_positions(module, output)
            made = LayerMacs(weight.numel() * positions, _nonzeros(weight) * positions)
        before = counted.get(name, LayerMacs(0, 0))
        counted[name] = LayerMacs(before.dense + made.dense, before.sparse + made.sparse)

    return count


def output_positions(module: nn.Module, output: Tensor) -> int:
    """How often a convolution or a linear layer used its weights for this output."""
    # The last dimension of (..., O), the first but the batch's of (N, O, *map).
    axis = 1 - layer_weights(module)[0].dim() if isinstance(module, _CONVS) else -1
    return output.numel() // output.shape[axis]


def _attention_macs(
    module: nn.MultiheadAttention, inputs: Sequence[Tensor], keywords: dict[str, Tensor]
) -> LayerMacs:
    given = dict(zip(("query", "key", "value"), inputs, strict=False)) | keywords
    query, key = given["query"], given["key"]
    query_tokens = prod(query.shape[:-1])  # N x L, whatever the order of the two
    key_tokens = prod(key.shape[:-1])
    key_length = key.shape[-2] if key.dim() == 2 or module.batch_first else key.shape[0]

    weights = layer_weights(module)
    if len(weights) == 2:
        weights = [*weights[0].chunk(3), weights[1]]
    tokens = (query_tokens, key_tokens, key_tokens, query_tokens)
    dense = sum(w.numel() * t for w, t in zip(weights, tokens, strict=True))
    sparse = sum(_nonzeros(w) * t for w, t in zip(weights, tokens, strict=True))
    # query x key and scores x value, over all heads together
    products = 2 * query_tokens * key_length * module.embed_dim
    return LayerMacs(dense + products, sparse + products)


def _nonzeros(weight: Tensor) -> int:
    return int(torch.count_nonzero(weight))

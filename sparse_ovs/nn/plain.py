"""A copy of a model in plain torch modules, for export."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from sparse_ovs.nn.sparsify import densify


def plain_copy(model: nn.Module) -> nn.Module:
    """Of the same values, dense, in eval mode; also where modules hold weights that were computed
    from others, as those of torch.nn.utils.prune do: deepcopy alone refuses such tensors."""
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return densify(copy.deepcopy(model, computed)).eval()

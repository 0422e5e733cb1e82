"""A copy of a model in plain torch modules, for export."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from sparse_ovs.nn.sparsify import densify


def plain_copy(model: nn.Module, shared: Sequence[object] = ()) -> nn.Module:
    """Of the same values, dense, in eval mode; also where modules hold weights that were computed
    from others, as those of torch.nn.utils.prune do: deepcopy alone refuses such tensors.

    Args:
        shared: what the copy has in common with the model.
    """
    memo: dict[int, object] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    memo |= {id(part): part for part in shared}
    return densify(copy.deepcopy(model, memo)).eval()

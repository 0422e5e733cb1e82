"""compile: a pruned encoder, dense or sparsified, as one fused plan."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from sparse_ovs.engine import CompiledEncoder
from sparse_ovs.nn import densify


def compile(model: nn.Module, example_input: Tensor, threads: int | None = None) -> CompiledEncoder:
    """Exports an encoder's graph, folds and fuses it, packs its weights once.

    Args:
        model: of one tensor, dense or sparsified; weights with zeros run sparse. Not changed.
        example_input: (N, C, H, W) float32 on the CPU.
        threads: to run on; None follows get_num_threads at each call.

    Returns:
        A module with the model's eval-mode outputs, for inputs of any size that the model takes.

    Raises:
        RuntimeError: the native library cannot be used here.
        ValueError: an example or a thread count that is no such thing.
    """
    return CompiledEncoder(densify(copy.deepcopy(model)).eval(), example_input, threads)

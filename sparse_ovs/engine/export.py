"""From a model to the engine's graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.engine.graph import Graph
from sparse_ovs.engine.importer import import_program
from sparse_ovs.engine.passes import optimise
from sparse_ovs.engine.passes.clean import remove_unused


def export_graph(model: nn.Module, example: Tensor) -> tuple[Graph, Any]:
    """The graph of a model of plain torch modules in eval mode, folded and fused, and how its
    outputs are nested (a pytree spec).

    Raises:
        ValueError: a model of another number of inputs than one tensor.
        Exception: what torch.export itself raises.
    """
    with torch.no_grad():
        program = torch.export.export(model, (example,))
    return optimise(import_program(program)), program.call_spec.out_spec


def trace(module: nn.Module, example: Tensor) -> Graph:
    """The graph of a module as it stands, nothing folded or fused: its tensors are the module's.

    Raises:
        ValueError: a module of another number of inputs than one tensor.
        Exception: what torch.export itself raises.
    """
    with torch.no_grad():
        graph = import_program(torch.export.export(module, (example,)))
    remove_unused(graph)
    return graph

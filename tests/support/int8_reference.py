"""What a graph typed for int8 must compute: in 64-bit integers and single float operations.

Written from the contract (csrc/cpu/kernels/tasks/byte_rows.h), apart from the engine's own code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.engine.graph import Conv, Convert, Graph, Node, Pool, Quant
from sparse_ovs.engine.in_torch import run_in_torch
from sparse_ovs.engine.weights import NativeConvWeights


def outputs(graph: Graph, x: Tensor) -> list[Tensor]:
    """The graph's outputs; its nodes of u8 exactly, the others in torch."""
    weights = NativeConvWeights()
    values: dict[str, Any] = {graph.input: x}  # u8 values are int64 tensors
    quants = {node.name: node.quant for node in graph.nodes}
    with torch.no_grad():
        for node in graph.nodes:
            if node.quant is None and not isinstance(node, Convert):
                values[node.name] = run_in_torch(node, values, weights)
            else:
                values[node.name] = _exact(node, values, quants)
    return [values[name] for name in graph.outputs]


def _exact(node: Node, values: dict[str, Any], quants: dict[str, Quant | None]) -> Tensor:
    x = values[node.sources()[0]]
    if isinstance(node, Convert):
        return _dequantised(x, quants[node.source]) if node.quant is None else _quantised(x, node)
    if isinstance(node, Pool):
        return (4 * F.avg_pool2d(x.double(), 2) + 2).long() // 4
    assert isinstance(node, Conv)
    assert node.quant is not None
    return _conv(node, x, values, quants)


def _quantised(x: Tensor, node: Convert) -> Tensor:
    assert node.quant is not None
    y = x.numpy() * (np.float32(1) / np.float32(node.quant.scale))
    y = np.rint(y + np.float32(node.quant.zero_point))
    return torch.from_numpy(np.clip(y, 0, 255)).long()


def _dequantised(x: Tensor, quant: Quant | None) -> Tensor:
    assert quant is not None
    return (x - quant.zero_point).float() * quant.scale


def _conv(node: Conv, x: Tensor, values: dict[str, Any], quants: dict[str, Quant | None]) -> Tensor:
    given, made, scales = quants[node.source], node.quant, node.weight_scales
    assert given is not None
    assert made is not None
    assert scales is not None
    integers = np.rint(node.weight.numpy() * (np.float32(1) / scales.numpy()[:, None, None, None]))
    # Whole numbers below 2^53 are exact in double precision.
    how = (None, node.stride, node.padding, node.dilation, node.groups)
    centred = (x - given.zero_point).double()
    sums = F.conv2d(centred, torch.from_numpy(integers).double(), *how).numpy()
    inverse = 1.0 / made.scale
    bias = np.zeros(len(scales)) if node.bias is None else node.bias.double().numpy()
    shift = np.full(len(scales), float(made.zero_point))
    added = np.float32(0)
    if node.residual is not None:
        other = quants[node.residual]
        assert other is not None
        shift = shift - other.zero_point * (other.scale * inverse)
        added = values[node.residual].numpy().astype(np.float32) * np.float32(other.scale * inverse)
    factor = (scales.double().numpy() * given.scale * inverse).astype(np.float32)
    offset = (bias * inverse + shift).astype(np.float32)
    y = sums.astype(np.float32) * factor[:, None, None] + offset[:, None, None]
    y = np.rint(y + added)
    least = 0 if node.activation == "none" else made.zero_point
    most = 255.0
    if node.activation == "relu6":
        most = min(most, np.rint(6 * inverse) + made.zero_point)
    return torch.from_numpy(np.clip(y, least, most)).long()

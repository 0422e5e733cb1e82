"""Lets the steps of a graph that have bf16 kernels compute with bf16 maps and weights."""

from __future__ import annotations

import torch

from sparse_ovs import _native
from sparse_ovs.engine.graph import Conv, Convert, Graph, Node, Pool
from sparse_ovs.engine.narrow import Narrowing

ACTIVATIONS = ("none", "relu", "relu6")  # that bf16 kernels apply
_MOST_COLUMNS = (1 << 16) - 1  # of a weight, whose places 16 bits tell


def why_not_bf16(conv: Conv) -> str:
    """Why a convolution has no bf16 kernel here; "" where it has one."""
    if _native.bf16_isa() is None:
        return "no bf16 kernel runs on this CPU: it takes AVX512_BF16"
    if conv.activation not in ACTIVATIONS:
        return f"no bf16 kernel applies {conv.activation}"
    if conv.weight.shape[1] == 1 and conv.groups > 1:
        return "no bf16 kernel of depthwise convolutions"
    if conv.weight[0].numel() > _MOST_COLUMNS:
        return f"bf16 sums hold at most {_MOST_COLUMNS} products"
    return ""


def to_bf16(graph: Graph) -> Graph:
    """Types the graph, in place, and rounds the weights of its bf16 convolutions.

    Args:
        graph: after its passes.
    """
    return _Bf16(graph).run()


class _Bf16(Narrowing):
    def takes(self, node: Node, number: int) -> bool:
        if isinstance(node, Pool):
            return self.run_of.get(node.source) == number
        if not isinstance(node, Conv):
            return False
        node.note = why_not_bf16(node)
        return not node.note

    def set_type(self, node: Node, number: int) -> None:
        node.bf16 = True
        self.run_of[node.name] = number
        if isinstance(node, Conv):
            node.weight = node.weight.to(torch.bfloat16).to(torch.float32)
            for name in dict.fromkeys(node.sources()):
                node.rename(name, self.narrow(name, number))

    def conversion(self, name: str, source: str, number: int) -> Convert:
        return Convert(f"{name}_bf16_{number}", source, bf16=True)

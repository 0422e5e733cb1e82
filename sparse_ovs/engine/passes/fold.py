"""Folds what only scales or shifts a value into the weights and constants before it."""

from __future__ import annotations

from sparse_ovs.engine.graph import BatchNorm, Graph, Scale, Shift, Tokens
from sparse_ovs.engine.passes.edit import absorb, plain_conv
from sparse_ovs.ops.layer import fold_norm


def fold_batch_norms(graph: Graph) -> None:
    """conv -> batch_norm becomes a conv with scaled weights and another bias."""
    for norm in [node for node in graph.nodes if isinstance(node, BatchNorm)]:
        conv = plain_conv(graph, norm.source)
        if conv is None:
            continue
        vectors = [norm.gamma, norm.beta, norm.mean, norm.var]
        scale, conv.bias = fold_norm(conv.bias, vectors, norm.eps, conv.weight.shape[0])
        conv.scale_rows(scale)
        absorb(graph, norm.name, conv)


def fold_scales(graph: Graph) -> None:
    """conv -> scale (ConvNeXt's layer scale) becomes a conv with scaled weights and bias."""
    for scale in [node for node in graph.nodes if isinstance(node, Scale)]:
        conv = plain_conv(graph, scale.source)
        if conv is None:
            continue
        conv.scale_rows(scale.factor)
        conv.bias = None if conv.bias is None else conv.bias * scale.factor
        absorb(graph, scale.name, conv)


def fold_shifts(graph: Graph) -> None:
    """tokens -> shift (the positional embedding) becomes tokens with other constants."""
    for shift in [node for node in graph.nodes if isinstance(node, Shift)]:
        tokens = graph.node(shift.source)
        if isinstance(tokens, Tokens) and graph.uses()[tokens.name] == 1:
            tokens.constants = tokens.constants + shift.constants
            absorb(graph, shift.name, tokens)

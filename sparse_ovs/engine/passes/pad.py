"""Joins zeros around a map to the convolution that reads it, as TensorFlow pads."""

from __future__ import annotations

import torch.nn.functional as F

from sparse_ovs.engine.graph import Conv, Graph, Pad


def fuse_pads(graph: Graph) -> None:
    """pad -> conv becomes one step. Zeros on one side alone become taps of weight 0 on the other:
    they cost a sparse kernel nothing."""
    for pad in [node for node in graph.nodes if isinstance(node, Pad)]:
        conv = next((node for node in graph.nodes if pad.name in node.sources()), None)
        if not isinstance(conv, Conv) or graph.uses()[pad.name] != 1 or conv.dilation != (1, 1):
            continue
        if conv.source != pad.name:
            continue
        (top, bottom), (left, right) = (
            tuple(own + more for more in side)
            for own, side in zip(conv.padding, (pad.rows, pad.columns), strict=True)
        )
        height, width = max(top, bottom), max(left, right)
        conv.weight = F.pad(
            conv.weight, (width - left, width - right, height - top, height - bottom)
        )
        conv.padding = (height, width)
        conv.source = pad.source
        graph.nodes.remove(pad)

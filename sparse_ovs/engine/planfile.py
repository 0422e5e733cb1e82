"""Plan files: a fully native graph with its packed weights, as the C library reads it.

A safetensors file. Its header lists the steps in the order in which they run, each with an `op`,
a `name` that is also that of the value it makes, the names of the values it reads, and attributes;
the tensors of a step are called `name.part`. csrc/cpu/program.cpp reads it.
"""

from __future__ import annotations

import os
from typing import Any

from torch import Tensor

from sparse_ovs.engine.graph import (
    AtrousPool,
    Attention,
    Conv,
    Crop,
    Graph,
    LayerNorm,
    Node,
    Pool,
    Tokens,
)
from sparse_ovs.engine.torch_nodes import TorchNode
from sparse_ovs.engine.weights import NativeConvWeights, pack_weight
from sparse_ovs.formats import write_file
from sparse_ovs.version import __version__

# What native nodes are called, files hold only some of them.
_OPS: dict[type[Node], str] = {
    Pool: "avg_pool2x2",
    AtrousPool: "atrous_pool2x2",
    LayerNorm: "layer_norm",
    Attention: "attention",
    Tokens: "tokens",
    Crop: "crop",
}


def write_plan(
    path: str | os.PathLike[str],
    graph: Graph,
    channels: int,
    tree: Any,
    weights: NativeConvWeights,
) -> None:
    """Writes a graph; atomic.

    Args:
        channels: of the input.
        tree: nested lists, tuples and dicts of the names in graph.outputs.
        weights: of the convolutions; those that run dense are written so.

    Raises:
        ValueError: the graph has nodes that files do not hold, or outputs that cannot be told in
            a file.
    """
    if in_the_way := [
        node for node in graph.nodes if not isinstance(node, (Conv, Pool, AtrousPool))
    ]:
        nodes = ", ".join(map(_describe_other, in_the_way))
        raise ValueError(
            f"expected a plan of convolutions, linear layers and pooling alone to save, got {nodes}"
        )
    labels = step_labels(graph)
    made = [name for name in dict.fromkeys(graph.outputs) if name != graph.input]
    if not made:
        raise ValueError("expected at least one output that a step makes, got none")
    tensors: dict[str, Tensor] = {}
    steps = []
    for node in graph.nodes:
        record = step_record(node, labels)
        if isinstance(node, Conv):
            weight = weights.dense(node)
            packed = None if weights.is_dense(node) else pack_weight(weight, node.groups)
            if packed is None:
                tensors[f"{record['name']}.weight"] = weight
            else:
                record["weight"]["block_rows"] = packed.block_rows
                for part in ("values", "indices", "row_ptr"):
                    tensors[f"{record['name']}.{part}"] = getattr(packed, part)
            if node.bias is not None:
                tensors[f"{record['name']}.bias"] = node.bias
        steps.append(record)
    header = {
        "kind": "plan",
        "library": __version__,
        "input": labels[graph.input],
        "input_channels": channels,
        "steps": steps,
        "outputs": [labels[name] for name in made],
        "tree": _encode_tree(tree, labels),
    }
    # safetensors refuses tensors that share memory: every one is written for itself.
    write_file(path, {name: t.detach().contiguous().clone() for name, t in tensors.items()}, header)


def step_labels(graph: Graph) -> dict[str, str]:
    """What people call each value: its layer, numbered where a layer makes several."""
    labels = {graph.input: "input"}
    taken = set(labels.values())
    for node in graph.nodes:
        label = layer = node.layer or node.name
        number = 2
        while label in taken:
            label = f"{layer}#{number}"
            number += 1
        taken.add(label)
        labels[node.name] = label
    return labels


def step_record(node: Node, labels: dict[str, str]) -> dict[str, Any]:
    """A native step as the file's header tells it, but for how its weight is packed; of nodes that
    files do not hold, what a table shows."""
    if not isinstance(node, Conv):
        record: dict[str, Any] = {"op": _OPS[type(node)], "name": labels[node.name]}
        record["input"] = labels[node.sources()[-1]]
        return record | ({"dilation": node.dilation} if isinstance(node, AtrousPool) else {})
    return {
        "op": "conv2d",
        "name": labels[node.name],
        "input": labels[node.source],
        "residual": None if node.residual is None else labels[node.residual],
        "stride": list(node.stride),
        "padding": list(node.padding),
        "dilation": list(node.dilation),
        "groups": node.groups,
        "activation": None if node.activation == "none" else node.activation,
        "weight": {"shape": list(node.weight.shape)},
    }


def decode_tree(tree: Any, values: dict[str, Any]) -> Any:
    """The nested outputs of a header's tree, with values put in by name.

    Raises:
        ValueError, TypeError, KeyError: no such tree.
    """
    if isinstance(tree, str):
        return values[tree]
    ((kind, content),) = tree.items()
    if kind == "dict":
        return {key: decode_tree(item, values) for key, item in content.items()}
    nest = {"list": list, "tuple": tuple}[kind]
    return nest(decode_tree(item, values) for item in content)


def _encode_tree(tree: Any, labels: dict[str, str]) -> Any:
    if type(tree) is str:
        return labels[tree]
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_encode_tree(item, labels) for item in tree]}
    if type(tree) is dict and all(isinstance(key, str) for key in tree):
        return {"dict": {key: _encode_tree(item, labels) for key, item in tree.items()}}
    raise ValueError(
        "expected outputs nested in lists, tuples and dicts with names to save, "
        f"got {type(tree).__name__}"
    )


def _describe_other(node: Node) -> str:
    op = str(node.target) if isinstance(node, TorchNode) else type(node).__name__
    return f"{op} ({node.layer or node.name})"

"""Plan files: a fully native graph with its packed weights, as the C library reads it.

A safetensors file. Its header lists the steps in the order in which they run, as records: each has
an `op`, a `name` that is also that of the value it makes, the names of its `inputs`, and members of
its own; the tensors of a step are called `name.part`. csrc/cpu/program reads it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparse_ovs.engine.column_gaps import column_gaps
from sparse_ovs.engine.graph import Conv, Graph, Node
from sparse_ovs.engine.records import record_of, step_labels, tensors_of
from sparse_ovs.engine.torch_nodes import TorchNode
from sparse_ovs.engine.weights import NativeConvWeights, pack_weight, stored_weight
from sparse_ovs.formats import PackedWeight, write_file
from sparse_ovs.version import __version__


def write_plan(
    path: str | os.PathLike[str],
    graph: Graph,
    shape: Sequence[int],
    tree: Any,
    weights: NativeConvWeights,
) -> None:
    """Writes a graph; atomic.

    Args:
        shape: (N, C, H, W) of the input that the graph was exported for.
        tree: nested lists, tuples and dicts of the names in graph.outputs.
        weights: of the convolutions; those that run dense are written so.

    Raises:
        ValueError: the graph has nodes that files do not hold, or outputs that cannot be told in
            a file.
    """
    if in_the_way := [node for node in graph.nodes if not node.is_native()]:
        nodes = ", ".join(map(_describe_other, in_the_way))
        raise ValueError(f"expected a plan of native steps alone to save, got {nodes}")
    labels = step_labels(graph)
    made = [name for name in dict.fromkeys(graph.outputs) if name != graph.input]
    if not made:
        raise ValueError("expected at least one output that a step makes, got none")
    tensors: dict[str, Tensor] = {}
    steps = []
    for node in graph.nodes:
        record = record_of(node, labels)
        tensors.update(tensors_of(node, record["name"]))
        if isinstance(node, Conv):
            weight = stored_weight(node, weights.dense(node))
            packed = None if weights.is_dense(node) else pack_weight(weight, node.groups)
            if packed is not None:
                record["weight"]["block_rows"] = packed.block_rows
            parts = {"weight": weight} if packed is None else _parts_of(packed)
            if node.bf16:  # they are such numbers already
                numbers = "weight" if packed is None else "values"
                parts[numbers] = parts[numbers].to(torch.bfloat16)
            more = {"scales": node.weight_scales, "bias": node.bias}
            parts.update({part: t for part, t in more.items() if t is not None})
            tensors.update({f"{record['name']}.{part}": t for part, t in parts.items()})
        steps.append(record)
    header = {
        "kind": "plan",
        "library": __version__,
        "inputs": [{"name": labels[graph.input], "channels": shape[1]}],
        # Of a program whose steps hold sizes.
        "input_size": list(shape[2:]) if any(node.holds_size for node in graph.nodes) else None,
        "steps": steps,
        "outputs": [labels[name] for name in made],
        "tree": _encode_tree(tree, labels),
    }
    # safetensors refuses tensors that share memory: every one is written for itself.
    write_file(path, {name: t.detach().contiguous().clone() for name, t in tensors.items()}, header)


def upgrade_header(header: dict[str, Any]) -> dict[str, Any]:
    """The header of a plan file of any version as the present one writes it.

    Raises:
        KeyError, TypeError: no such header.
    """
    if header["format_version"] != 1:
        return header
    steps = []
    for step in header["steps"]:
        old = dict(step)
        read = [old.pop("input"), old.pop("residual", None)]
        steps.append({**old, "inputs": [name for name in read if name is not None]})
    entry = {"name": header["input"], "channels": header["input_channels"]}
    return {**header, "inputs": [entry], "steps": steps, "input_size": None}


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


def _parts_of(packed: PackedWeight) -> dict[str, Tensor]:
    """The tensors of sparse weights. Columns of s8 ones, which have at most 65,535, are told in
    fewer bytes; those of float32 ones as libraries read them that know no int8."""
    if packed.values.dtype == torch.int8:
        counts = packed.row_ptr.diff()
        gaps = column_gaps(packed.indices, counts)
        return {"values": packed.values, "counts": counts.to(torch.uint16), "gaps": gaps}
    return {part: getattr(packed, part) for part in ("values", "indices", "row_ptr")}


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

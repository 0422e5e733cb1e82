"""Native nodes as records: the form in which the library and plan files take a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.engine.graph import Graph, Node


def record_of(node: Node, names: Mapping[str, str]) -> dict[str, Any]:
    """The record of a native node, but for how its weight is packed.

    Args:
        names: in the program, of the node's value and of those that it reads.
    """
    made: dict[str, Any] = {"dtype": "bf16"} if node.bf16 else {}
    if node.quant is not None:
        made = {"dtype": "u8", "quant": asdict(node.quant)}
    return {
        "op": node.op,
        "name": names[node.name],
        "inputs": [names[name] for name in node.inputs()],
        **made,
        **node.members(),
    }


def tensors_of(node: Node, name: str) -> dict[str, Tensor]:
    """Tensors of a record of that name, as programs call them: contiguous float32."""
    return {
        f"{name}.{part}": tensor.detach().to(torch.float32).contiguous()
        for part, tensor in node.tensors().items()
    }


def make_program(
    inputs: Mapping[str, int],
    nodes: Sequence[Node],
    outputs: Sequence[str],
    weights: Mapping[str, _native.NativeWeights],
    tunings: Mapping[str, _native.Tuning],
) -> _native.Program:
    """The library's program of native nodes, by the names of their values.

    Args:
        inputs: channels of the values that they read and do not make.
        outputs: values that they make and give out.
        weights: of convolutions, by name.
        tunings: of those that are tuned.

    Raises:
        NativeRefusal: the library does not take them.
    """
    made = [node.name for node in nodes]
    names = {name: name for name in [*inputs, *made]}
    steps, tensors = [], {}
    for node in nodes:
        record = record_of(node, names)
        if node.name in tunings:
            record["tuning"] = vars(tunings[node.name])
        steps.append(record)
        tensors.update(tensors_of(node, node.name))
    header = {
        "inputs": [{"name": name, "channels": channels} for name, channels in inputs.items()],
        "steps": steps,
        "outputs": list(outputs),
    }
    floats = {name: _native.Floats(t.data_ptr(), tuple(t.shape)) for name, t in tensors.items()}
    return _native.Program(header, weights, floats)


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

"""Reads a torch.export program into the engine's graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from sparse_ovs.engine.graph import Add, BatchNorm, Conv, Graph, Node, Pool, Ref, Relu, TorchNode

aten = torch.ops.aten
_RELU = (aten.relu.default, aten.relu_.default)
_ADD = (aten.add.Tensor, aten.add_.Tensor)


def import_program(program: ExportedProgram) -> Graph:
    """The graph of a program with one tensor as its input.

    Raises:
        ValueError: the program takes another number of inputs.
    """
    constants = _constants(program)
    inputs = program.graph_signature.user_inputs
    if len(inputs) != 1 or not isinstance(inputs[0], str):
        raise ValueError(f"expected a model with one tensor as its input, got {len(inputs)} inputs")
    graph = Graph(inputs[0])
    # What each fx node stands for now: a constant, or the name of a value.
    known: dict[fx.Node, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            known[node] = constants.get(node.name, Ref(node.name))
        elif node.op == "output":
            graph.outputs = [known[result].name for result in node.args[0]]
        else:
            arguments = fx.map_arg(node.args, lambda n: known[n])
            keywords = fx.map_arg(node.kwargs, lambda n: known[n])
            if _is_identity(node.target, arguments):
                known[node] = arguments[0]
                continue
            graph.nodes.append(_node(node, arguments, keywords))
            graph.nodes[-1].layer = _layer(node)
            known[node] = Ref(node.name)
            if _writes_in_place(node.target):
                # From here on the argument is the result.
                known[node.args[0]] = known[node]
    return graph


def _constants(program: ExportedProgram) -> dict[str, Tensor]:
    signature = program.graph_signature
    found: dict[str, Tensor] = {}
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for placeholder, name in named.items():
        value = program.state_dict.get(name, program.constants.get(name))
        assert isinstance(value, Tensor)
        found[placeholder] = value.detach()
    for placeholder, name in signature.inputs_to_lifted_tensor_constants.items():
        value = program.constants[name]
        assert isinstance(value, Tensor)
        found[placeholder] = value.detach()
    return found


def _node(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node:
    target, shapes = node.target, [_shape(value) for value in node.args]
    if target is aten.conv2d.default and not kwargs:
        conv = _conv(node.name, *args)
        if conv is not None:
            return conv
    if target is aten.batch_norm.default and not args[5] and _all_tensors(args[1:5]):
        return BatchNorm(node.name, args[0].name, args[1], args[2], args[3], args[4], args[7])
    if target in _RELU:
        return Relu(node.name, args[0].name)
    both = len(args) == 2 and all(isinstance(a, Ref) for a in args) and shapes[0] == shapes[1]
    if target in _ADD and not kwargs and both:
        return Add(node.name, args[0].name, args[1].name)
    if target is aten.avg_pool2d.default and _pools(args[1:], 2):
        return Pool(node.name, args[0].name)
    return TorchNode(node.name, target, args, kwargs, tuple(_shape(node) or ()))


def _layer(node: fx.Node) -> str:
    """The qualified name of the innermost module that the operation was traced in."""
    modules = list(node.meta.get("nn_module_stack", {}).values())
    return str(modules[-1][0]) if modules else ""


def _conv(
    name: str,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> Conv | None:
    if not isinstance(x, Ref) or not _all_tensors([weight]) or weight.dtype != torch.float32:
        return None
    if bias is not None and not isinstance(bias, Tensor):
        return None
    pairs = [tuple(p) if len(p) == 2 else (p[0], p[0]) for p in (stride, padding, dilation)]
    return Conv(name, x.name, weight, bias, pairs[0], pairs[1], pairs[2], groups)


def _shape(value: Any) -> torch.Size | None:
    made = value.meta.get("val") if isinstance(value, fx.Node) else None
    return made.shape if isinstance(made, Tensor) else None


def _all_tensors(values: Any) -> bool:
    return all(isinstance(value, Tensor) for value in values)


def _pools(options: tuple[Any, ...], size: int) -> bool:
    """Options of an avg_pool2d: a mean over size x size pixels with that stride, nothing else."""
    names = ("kernel", "stride", "padding", "ceil", "count", "divisor")
    given = dict(zip(names, options, strict=False))
    same = ([size], [size, size])
    return (
        list(given["kernel"]) in same
        and list(given.get("stride") or given["kernel"]) in same
        and not any(given.get("padding", ()))
        and not given.get("ceil", False)
        and given.get("divisor") is None
    )


def _is_identity(target: Any, args: tuple[Any, ...]) -> bool:
    """What returns its input: dropout in eval mode, pooling of single pixels."""
    if target in (aten.dropout.default, aten.dropout_.default):
        return not args[2]
    return target is aten.avg_pool2d.default and _pools(args[1:], 1)


def _writes_in_place(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.arguments:
        return False
    alias = schema.arguments[0].alias_info
    return alias is not None and alias.is_write

"""Walks through a torch.export program and makes the graph of it."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, fx
from torch.export import ExportedProgram

from sparse_ovs.engine.graph import Graph, TorchNode
from sparse_ovs.engine.importer.handlers import HANDLERS, Call, is_value, shape
from sparse_ovs.engine.importer.values import Values

aten = torch.ops.aten


def import_program(program: ExportedProgram) -> Graph:
    """The graph of a program with one tensor (N, C, H, W) as its input.

    Raises:
        ValueError: the program takes another number of inputs.
    """
    inputs = program.graph_signature.user_inputs
    if len(inputs) != 1 or not isinstance(inputs[0], str):
        raise ValueError(f"expected a model with one tensor as its input, got {len(inputs)} inputs")
    return _Importer(program, inputs[0]).run()


class _Importer:
    def __init__(self, program: ExportedProgram, input_name: str) -> None:
        self.program = program
        self.graph = Graph(input_name)
        self.values = Values(self.graph)
        # What each fx node stands for now: a constant, the name of a value, or a view of a map.
        self.known: dict[fx.Node, Any] = {}

    def run(self) -> Graph:
        constants = _constants(self.program)
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                is_input = node.name == self.graph.input
                self.known[node] = (
                    self.values.add_input(node.name, shape(node))
                    if is_input
                    else constants[node.name]
                )
            elif node.op == "output":
                results = [self.values.cropped(self.known[result]) for result in node.args[0]]
                shapes = [shape(result) for result in node.args[0]]
                self.graph.outputs = [
                    self.values.as_tensor(value, sizes).name
                    for value, sizes in zip(results, shapes, strict=True)
                ]
            elif node.target is not aten._assert_tensor_metadata.default:
                before = len(self.graph.nodes)
                self.known[node] = self._value(node)
                for made in self.graph.nodes[before:]:
                    made.layer = _layer(node)
                if _writes_in_place(node.target):
                    # From here on the argument is the result.
                    self.known[node.args[0]] = self.known[node]
        return self.graph

    def _value(self, node: fx.Node) -> Any:
        args: Any = fx.map_arg(node.args, lambda n: self.known[n])
        kwargs: Any = fx.map_arg(node.kwargs, lambda n: self.known[n])
        if _is_constant(node, (args, kwargs)):
            target: Any = node.target
            return target(*args, **kwargs)
        if node.target is operator.getitem and not is_value(args[0]):
            return args[0][args[1]]
        handler = HANDLERS.get(node.target)
        if handler is not None:
            value = handler(Call.of(node, args, kwargs, self.values))
            if value is not None:
                return value
        return self._in_torch(node)

    def _in_torch(self, node: fx.Node) -> Any:
        """The operation stays what it is, on torch tensors."""

        def as_tensor(source: fx.Node) -> Any:
            known = self.known[source]
            return self.values.as_tensor(known, shape(source)) if is_value(known) else known

        args, kwargs = fx.map_arg(node.args, as_tensor), fx.map_arg(node.kwargs, as_tensor)
        made = TorchNode(node.name, node.target, args, kwargs, shape(node))
        return self.values.add_torch(made)


def _layer(node: fx.Node) -> str:
    """The qualified name of the innermost module that the operation was traced in."""
    modules = list(node.meta.get("nn_module_stack", {}).values())
    return str(modules[-1][0]) if modules else ""


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


def _is_constant(node: fx.Node, arguments: Any) -> bool:
    """A pure function of constants alone."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) and target is not operator.getitem:
        return False
    tags = getattr(target, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags or _writes_in_place(target):
        return False
    found: list[Any] = []
    pytree.tree_map(found.append, arguments)
    return not any(map(is_value, found))


def _writes_in_place(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.arguments:
        return False
    alias = schema.arguments[0].alias_info
    return alias is not None and alias.is_write

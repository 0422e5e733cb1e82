"""Walks through a torch.export program and makes the graph of it."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from sparse_ovs.engine.graph import Conv, Graph
from sparse_ovs.engine.importer.handlers import HANDLERS, Call, is_value, makes_float32, shape
from sparse_ovs.engine.importer.pairs import join_pairs, weight_scales
from sparse_ovs.engine.importer.values import Values
from sparse_ovs.engine.importer.writes import (
    other_names,
    without_write,
    writes_are_private,
    writes_in_place,
)
from sparse_ovs.engine.torch_nodes import Constant, TorchNode

aten = torch.ops.aten


def import_program(program: ExportedProgram) -> Graph:
    """The graph of a program with one tensor (N, C, H, W) as its input.

    Raises:
        ValueError: the program takes another number of inputs.
    """
    inputs = program.graph_signature.user_inputs
    if len(inputs) != 1 or not isinstance(inputs[0], str):
        raise ValueError(f"expected a model with one tensor as its input, got {len(inputs)} inputs")
    if not writes_are_private(program.graph):
        program = program.run_decompositions({})  # without writes in place
    join_pairs(program.graph)
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
            elif node.op == "get_attr":  # a graph that an operation runs, as torch.cond does
                self.known[node] = operator.attrgetter(node.target)(self.program.graph_module)
            elif node.op == "output":
                kinds = [spec.kind for spec in self.program.graph_signature.output_specs]
                self.graph.outputs = [
                    self._output(result, number)
                    for number, (result, kind) in enumerate(zip(node.args[0], kinds, strict=True))
                    if kind is OutputKind.USER_OUTPUT
                ]
            elif node.target is not aten._assert_tensor_metadata.default:
                before = len(self.graph.nodes)
                self.known[node] = self._value(node)
                for made in self.graph.nodes[before:]:
                    made.layer = _layer(node)
                    if isinstance(made, Conv):
                        made.own_scales = weight_scales(node, self.known)
                for name in other_names(node):
                    self.known[name] = self.known[node]  # from here on
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
        if handler is None:
            return self._in_torch(node, "no native step")
        if not makes_float32(node):
            return self._in_torch(node, "no native step but for float32")
        value = handler(Call.of(node, args, kwargs, self.values))
        if value is None:
            return self._in_torch(node, "no native step for these arguments")
        return value

    def _in_torch(self, node: fx.Node, reason: str) -> Any:
        """The operation stays what it is, on torch tensors."""

        def as_tensor(source: fx.Node) -> Any:
            known = self.known[source]
            return self.values.as_tensor(known, shape(source)) if is_value(known) else known

        args, kwargs = fx.map_arg(node.args, as_tensor), fx.map_arg(node.kwargs, as_tensor)
        # What it writes to may be read as it was before, or be a constant.
        target = (without_write(node.target) if writes_in_place(node) else None) or node.target
        made = TorchNode(node.name, target, args, kwargs, shape(node), reason)
        return self.values.add_torch(made, makes_float32(node))

    def _output(self, result: Any, number: int) -> str:
        """The name of the value of an output."""
        known = self.known[result] if isinstance(result, fx.Node) else result
        if not is_value(known):
            return self.values.add_constant(Constant(f"output{number}", known))
        return self.values.as_tensor(self.values.cropped(known), shape(result)).name


def _layer(node: fx.Node) -> str:
    """The qualified name of the innermost module that the operation was traced in."""
    modules = list(node.meta.get("nn_module_stack", {}).values())
    return str(modules[-1][0]) if modules else ""


def _constants(program: ExportedProgram) -> dict[str, Any]:
    """Parameters, buffers, and what else the model holds, by the names of their placeholders."""
    signature = program.graph_signature
    named = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
        **signature.inputs_to_lifted_custom_objs,
    }
    found: dict[str, Any] = {}
    for placeholder, name in named.items():
        value = program.state_dict.get(name, program.constants.get(name))
        found[placeholder] = value.detach() if isinstance(value, Tensor) else value
    return found


def _is_constant(node: fx.Node, arguments: Any) -> bool:
    """A pure function of constants alone."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) and target is not operator.getitem:
        return False
    tags = getattr(target, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags or writes_in_place(node):
        return False
    found: list[Any] = []
    pytree.tree_map(found.append, arguments)
    return not any(map(is_value, found))

"""Reads activations, and what adds or multiplies numbers one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from sparse_ovs.engine.graph import Activation, Add, Scale, Shift, Tokens
from sparse_ovs.engine.importer.handlers import Call, handles, is_value
from sparse_ovs.engine.importer.values import along_axes
from sparse_ovs.engine.importer.writes import writes_in_place

aten = torch.ops.aten


@handles(aten.relu.default, aten.relu_.default)
def _relu(call: Call) -> Any:
    return _activation(call, call["self"], "relu")


@handles(aten.relu6.default, aten.relu6_.default)
def _relu6(call: Call) -> Any:
    return _activation(call, call["self"], "relu6")


@handles(aten.hardtanh.default, aten.hardtanh_.default)
def _hardtanh(call: Call) -> Any:
    is_relu6 = (call["min_val"], call["max_val"]) == (0, 6)
    return _activation(call, call["self"], "relu6") if is_relu6 else None


@handles(aten.clamp.default, aten.clamp_.default)
def _clamp(call: Call) -> Any:
    is_relu6 = (call["min"], call["max"]) == (0, 6)
    return _activation(call, call["self"], "relu6") if is_relu6 else None


@handles(aten.gelu.default, aten.gelu_.default)
def _gelu(call: Call) -> Any:
    return _activation(call, call["self"], "gelu_tanh" if call["approximate"] == "tanh" else "gelu")


def _activation(call: Call, x: Any, kind: str) -> Any:
    whole = call.values.whole(x)
    if whole is None:
        return None
    return call.values.add(Activation(call.name, whole.name, kind), whole)


@handles(aten.dropout.default, aten.dropout_.default)
def _dropout(call: Call) -> Any:
    return None if call["train"] else call["input"]


@handles(aten.add.Tensor, aten.add_.Tensor)
def _add(call: Call) -> Any:
    if call["alpha"] != 1:
        return None
    found = _constant_of(call)
    if found is not None:
        return _add_constant(call, *found)
    both = (call["self"], call["other"])
    if not all(map(is_value, both)) or call.shape_of("self") != call.shape_of("other"):
        return None
    left, right = map(call.values.whole, both)
    if left is None or right is None or (left.sizes, left.dims) != (right.sizes, right.dims):
        return None
    return call.values.add(Add(call.name, left.name, right.name), left)


def _constant_of(call: Call) -> tuple[Any, Tensor] | None:
    """The value and the constant where one of two arguments is a constant tensor."""
    for x, constant in (("self", "other"), ("other", "self")):
        if isinstance(call[constant], Tensor):
            return call[x], call[constant]
    return None


def _add_constant(call: Call, x: Any, constant: Tensor) -> Any:
    whole = call.values.whole(x)
    # Only tokens have constants of their own to add it to.
    if whole is None or not isinstance(call.values.graph.node(whole.name), Tokens):
        return None
    constants = along_axes(whole, constant)
    if constants is None:
        return None
    return call.values.add(Shift(call.name, whole.name, constants), whole)


@handles(aten.mul.Tensor, aten.mul_.Tensor)
def _mul(call: Call) -> Any:
    found = _constant_of(call)
    if found is not None:
        return _scale(call, *found)
    for x, gate in (("self", "other"), ("other", "self")):
        if _is_quick_gate(call.given[gate], call.given[x]):
            return _activation(call, call[x], "quick_gelu")
    return None


def _scale(call: Call, x: Any, constant: Tensor) -> Any:
    whole = call.values.whole(x)
    constants = None if whole is None else along_axes(whole, constant)
    if whole is None or constants is None or bool((constants != constants[:1]).any()):
        return None
    return call.values.add(Scale(call.name, whole.name, constants[0]), whole)


def _is_quick_gate(gate: Any, x: Any) -> bool:
    """sigmoid(1.702 x)"""
    if not isinstance(gate, fx.Node) or gate.target is not aten.sigmoid.default:
        return False
    inner = gate.args[0]
    return (
        isinstance(inner, fx.Node)
        and inner.target is aten.mul.Tensor
        and set(inner.args) == {x, 1.702}
        and not any(map(writes_in_place, x.users))  # it may have changed since
    )

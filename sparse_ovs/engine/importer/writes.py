"""Finds what a program writes in place, and whether anyone but the writer sees it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Any

import torch
from torch import Tensor, fx


def writes_in_place(node: fx.Node) -> bool:
    """The operation changes one of its arguments."""
    return any(a.alias_info is not None and a.alias_info.is_write for a in _arguments(node.target))


def without_write(target: Any) -> Any:
    """The operation that gives what an in-place one (`add_`) writes (`add`); None for none."""
    namespace, _, name = target._schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    overload = target._overloadname
    if not name.endswith("_") or packet is None or overload not in packet.overloads():
        return None
    return getattr(packet, overload)


def other_names(node: fx.Node) -> Iterator[fx.Node]:
    """Nodes that stand for the same tensor as one that writes in place, which it changes."""
    while node.op == "call_function" and writes_in_place(node):
        first = node.args[0]
        assert isinstance(first, fx.Node)
        yield first
        node = first


def writes_are_private(graph: fx.Graph) -> bool:
    """Every write in place is to memory that nothing else shows: no view of it, no other name, no
    weight and not the input. Then its result can as well be a new tensor."""
    # The value that a chain of writes began with, by node.
    written: dict[fx.Node, fx.Node] = {}
    shown_by: dict[Hashable, set[fx.Node]] = defaultdict(set)
    for node in graph.nodes:
        if node.op == "call_function" and writes_in_place(node):
            first = node.args[0] if node.args else None
            if not isinstance(first, fx.Node) or not _writes_first_alone(node.target):
                return False
            if without_write(node.target) is None:
                return False
            written[node] = written.get(first, first)
        for memory in _memory(node):
            shown_by[memory].add(written.get(node, node))
    return all(
        value.op == "call_function" and all(shown_by[m] == {value} for m in _memory(value))
        for value in written.values()
    )


def _arguments(target: Any) -> list[Any]:
    schema = getattr(target, "_schema", None)
    return [] if schema is None else list(schema.arguments)


def _writes_first_alone(target: Any) -> bool:
    writes = [a.alias_info is not None and a.alias_info.is_write for a in _arguments(target)]
    return writes[0] and not any(writes[1:])


def _memory(node: fx.Node) -> list[Hashable]:
    """What tells apart the memory of the tensors that a node makes."""
    made = node.meta.get("val")
    tensors = made if isinstance(made, (list, tuple)) else [made]
    return [t.untyped_storage()._cdata for t in tensors if isinstance(t, Tensor)]

"""The table of what reads each torch operation into the graph, and what all of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from sparse_ovs.engine.importer.values import Mapped, Values
from sparse_ovs.engine.torch_nodes import Ref


@dataclass(frozen=True)
class Call:
    """An operation of the exported program.

    Attributes:
        node: as exported.
        given: its arguments by name, as exported.
        named: the same and defaults, with what is known of values in place of nodes.
        values: of the graph that is being made.
    """

    node: Any
    given: Mapping[str, Any]
    named: Mapping[str, Any]
    values: Values

    @classmethod
    def of(cls, node: Any, args: Sequence[Any], kwargs: Mapping[str, Any], values: Values) -> Call:
        """Names the arguments by the operation's schema."""
        declared = node.target._schema.arguments
        names = [a.name for a in declared]
        defaults = {a.name: a.default_value for a in declared if a.has_default_value()}
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        known = {**dict(zip(names, args, strict=False)), **kwargs}
        return cls(node, given, {**defaults, **known}, values)

    @property
    def name(self) -> str:
        """Of the value that it makes."""
        return str(self.node.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor that it makes; () where that is none."""
        return shape(self.node)

    def shape_of(self, argument: str) -> tuple[int, ...]:
        """Of an argument that is a tensor, else ()."""
        return shape(self.given[argument])

    def __getitem__(self, name: str) -> Any:
        return self.named[name]


# Gives what the operation's result stands for; None where the engine has no step for it.
Handler = Callable[[Call], Any]
HANDLERS: dict[Any, Handler] = {}


def handles(*targets: Any) -> Callable[[Handler], Handler]:
    """Puts a function into the table."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(targets, handler))
        return handler

    return register


def made_by(node: Any) -> Any:
    """What a node of the program makes, without its numbers; None where it is no node."""
    return node.meta.get("val") if isinstance(node, fx.Node) else None


def shape(node: Any) -> tuple[int, ...]:
    """Of the tensor that a node of the program makes, -1 for sizes that its numbers decide; ()
    where that is none."""
    made = made_by(node)
    if not isinstance(made, Tensor):
        return ()
    return tuple(size if isinstance(size, int) else -1 for size in made.shape)


def makes_float32(node: Any) -> bool:
    """A node of the program makes float32 tensors on the CPU and nothing else: what maps hold."""
    made = made_by(node)
    tensors = made if isinstance(made, (list, tuple)) else [made]
    return all(
        isinstance(t, Tensor) and t.dtype == torch.float32 and t.device.type == "cpu"
        for t in tensors
    )


def is_value(known: Any) -> bool:
    """A value of the graph, not a constant."""
    return isinstance(known, (Mapped, Ref))


def is_float_weight(weight: Any) -> bool:
    """A constant that the library can pack."""
    return isinstance(weight, Tensor) and weight.dtype == torch.float32 and weight.numel() > 0


def is_optional_tensor(value: Any) -> bool:
    """A constant, or none."""
    return value is None or isinstance(value, Tensor)

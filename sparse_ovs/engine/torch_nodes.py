"""Nodes that run in torch, whose values may be anything, and those that lead from maps to its
tensors and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sparse_ovs.engine.dims import Factor
from sparse_ovs.engine.graph import Node, Shapes, Unary


@dataclass
class TorchNode(Node):
    """Whatever the engine has no step for: target(*args, **kwargs) with values put in by name.

    Attributes:
        args, kwargs: nested lists and dicts in which a `Ref` stands for a value.
        shape: of its result at the size that was exported; () where that is no tensor.
        reason: why the engine has no step for it.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...]
    reason: str
    holds_size = True

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """As exported."""
        return self.shape

    def sources(self) -> list[str]:
        found: list[str] = []
        substitute((self.args, self.kwargs), lambda ref: found.append(ref.name))
        return found

    def rename(self, old: str, new: str) -> None:
        def swap(ref: Ref) -> Ref:
            return Ref(new) if ref.name == old else ref

        self.args = substitute(self.args, swap)
        self.kwargs = substitute(self.kwargs, swap)


@dataclass
class View(Unary):
    """Numbers of a map as a torch tensor of another shape, without a copy where strides allow.

    Attributes:
        factors: of the map's axes, in the order of the tensor's dimensions.
        first: of each axis that does not start at 0, where it does.
        shape: of the tensor.
    """

    factors: tuple[Factor, ...]
    first: tuple[tuple[str, int], ...]
    shape: tuple[int, ...]
    holds_size = True

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """As exported."""
        return self.shape

    def channels_last(self) -> bool:
        """Channels are the fastest axis of the tensor."""
        return bool(self.factors) and self.factors[-1].axis == "c"


@dataclass
class AsMap(Unary):
    """A torch tensor (..., C) as the map (1, C, 1, pixels)."""

    shape: tuple[int, ...]
    holds_size = True

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """As exported."""
        return self.shape


@dataclass
class Constant(Node):
    """What is known before any input is: a weight that is also an output, None, a number.

    Attributes:
        value: given out as it is.
    """

    value: Any
    holds_size = True

    def out_shape(self, shapes: Shapes) -> tuple[int, ...]:
        """Of a tensor; () for all else."""
        return tuple(self.value.shape) if isinstance(self.value, Tensor) else ()

    def sources(self) -> list[str]:
        return []

    def rename(self, old: str, new: str) -> None:
        """Reads nothing."""


@dataclass(frozen=True)
class Ref:
    """Stands for a value inside the arguments of a TorchNode."""

    name: str


def substitute(nested: Any, replace: Any) -> Any:
    """The same nesting of tuples, lists and dicts with replace(ref) for every Ref."""
    if isinstance(nested, Ref):
        return replace(nested)
    if isinstance(nested, (tuple, list)):
        return type(nested)(substitute(item, replace) for item in nested)
    if isinstance(nested, dict):
        return {key: substitute(item, replace) for key, item in nested.items()}
    return nested

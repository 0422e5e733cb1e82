"""The engine's graph: a list of typed operations over named values, in an order that runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Node:
    """One operation; `name` is also the name of the value that it makes.

    Attributes:
        layer: qualified name of the module that it comes from; "" for the encoder itself.
    """

    name: str
    layer: str = field(default="", kw_only=True)

    def sources(self) -> list[str]:
        """Names of the values that it reads."""
        raise NotImplementedError

    def rename(self, old: str, new: str) -> None:
        """Reads `new` where it read `old`."""
        raise NotImplementedError


@dataclass
class _Unary(Node):
    source: str

    def sources(self) -> list[str]:
        return [self.source]

    def rename(self, old: str, new: str) -> None:
        if self.source == old:
            self.source = new


@dataclass
class Conv(_Unary):
    """[relu](conv2d(source, weight) + bias [+ residual]).

    Attributes:
        weight: (O, I / groups, kh, kw) float32, zeros in place.
        bias: (O,) or None.
        stride, padding, dilation: (vertical, horizontal).
        residual: name of a value of the output's shape, or None.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    relu: bool = False
    residual: str | None = None

    def sources(self) -> list[str]:
        return [self.source] + ([] if self.residual is None else [self.residual])

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        if self.residual == old:
            self.residual = new

    def out_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(N, C, H, W) -> (N, O, H', W')."""
        sizes = [
            (shape[2 + i] + 2 * self.padding[i] - self.dilation[i] * (self.weight.shape[2 + i] - 1))
            for i in range(2)
        ]
        height, width = ((size - 1) // s + 1 for size, s in zip(sizes, self.stride, strict=True))
        return shape[0], self.weight.shape[0], height, width


@dataclass
class BatchNorm(_Unary):
    """A BatchNorm in eval mode; gone once folded."""

    gamma: Tensor
    beta: Tensor
    mean: Tensor
    var: Tensor
    eps: float


@dataclass
class Relu(_Unary):
    """max(source, 0)."""


@dataclass
class Pool(_Unary):
    """The mean over 2x2 pixels, stride 2."""

    def out_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(N, C, H, W) -> (N, C, H // 2, W // 2)."""
        return shape[0], shape[1], shape[2] // 2, shape[3] // 2


@dataclass
class Add(Node):
    """left + right, of one shape."""

    left: str
    right: str

    def sources(self) -> list[str]:
        return [self.left, self.right]

    def rename(self, old: str, new: str) -> None:
        self.left = new if self.left == old else self.left
        self.right = new if self.right == old else self.right


@dataclass
class TorchNode(Node):
    """Whatever the engine has no step for: target(*args, **kwargs) with values put in by name.

    Attributes:
        args, kwargs: nested lists and dicts in which a `Ref` stands for a value.
        shape: of its result at the size that was exported; () where that is no tensor.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...]

    def sources(self) -> list[str]:
        found: list[str] = []
        substitute((self.args, self.kwargs), lambda ref: found.append(ref.name))
        return found

    def rename(self, old: str, new: str) -> None:
        def swap(ref: Ref) -> Ref:
            return Ref(new) if ref.name == old else ref

        self.args = substitute(self.args, swap)
        self.kwargs = substitute(self.kwargs, swap)


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


@dataclass
class Graph:
    """An encoder: one input, nodes in order, and the names of its outputs."""

    input: str
    nodes: list[Node] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def uses(self) -> Counter[str]:
        """How often each value is read, by nodes and as an output."""
        counts = Counter(name for node in self.nodes for name in node.sources())
        counts.update(self.outputs)
        return counts

    def replace(self, old: str, new: str) -> None:
        """Lets every reader of `old` read `new`."""
        for node in self.nodes:
            node.rename(old, new)
        self.outputs = [new if name == old else name for name in self.outputs]

    def node(self, name: str) -> Node | None:
        """The node that makes a value; None for the input."""
        return next((node for node in self.nodes if node.name == name), None)

"""What the importer knows about a program's tensors: which map they are a view of, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sparse_ovs.engine.dims import AXES, Dims
from sparse_ovs.engine.graph import Crop, Graph, Node
from sparse_ovs.engine.torch_nodes import AsMap, Constant, Ref, TorchNode, View


@dataclass(frozen=True)
class Mapped:
    """A tensor that is a view of a map.

    Attributes:
        name: of the map.
        sizes: (N, C, H, W) of the map.
        dims: of the tensor.
    """

    name: str
    sizes: tuple[int, int, int, int]
    dims: Dims

    @classmethod
    def whole(cls, name: str, shape: Sequence[int]) -> Mapped | Ref:
        """The map (N, C, H, W) itself; a Ref where the shape is no map's."""
        if len(shape) != 4 or min(shape) < 1:
            return Ref(name)
        n, c, h, w = shape
        return cls(name, (n, c, h, w), Dims.of_map(n, c, h, w))

    def viewed_as(self, dims: Dims) -> Mapped:
        """Another view of the same map."""
        return replace(self, dims=dims)

    def is_map(self) -> bool:
        """It is the map itself."""
        return self.dims == Dims.of_map(*self.sizes)

    def covers(self, axis: str) -> bool:
        """All of an axis is there."""
        size = {"n": self.sizes[0], "c": self.sizes[1], "p": self.sizes[2] * self.sizes[3]}[axis]
        return self.dims.size(axis) == size

    def with_pixels(self, dim: int, count: int) -> Mapped:
        """The same with `count` pixels, which are dimension `dim`, as a row."""
        n, c, _, _ = self.sizes
        return Mapped(self.name, (n, c, 1, count), self.dims.with_run(dim, "p", count))

    def is_heads(self, heads: int, depth: int) -> bool:
        """(N, heads, pixels, depth) of all images and pixels, heads side by side in the
        channels."""
        n, _, h, w = self.sizes
        own = Mapped(self.name, (n, heads * depth, h, w), self.dims).viewed_as_heads(heads, depth)
        elsewhere = any(self.dims.start(axis) for axis in ("n", "p"))
        return self.dims.factors == own.dims.factors and not elsewhere

    def viewed_as_heads(self, heads: int, depth: int) -> Mapped:
        """(N, C, H, W) with C = heads * depth as (N, heads, H * W, depth)."""
        n, c, h, w = self.sizes
        split = Dims.of_map(n, c, h, w).view((n, heads, depth, h * w))
        assert split is not None
        return self.viewed_as(split.permute((0, 1, 3, 2)))

    def viewed_like(self, other: Mapped, shape: Sequence[int]) -> Mapped:
        """A map of one pixel, laid out as a tensor that had more, now of `shape`."""
        kept = tuple(tuple(f for f in dim if f.axis != "p") for dim in other.dims.factors)
        dims = Dims(kept)
        assert dims.shape() == tuple(shape)
        return self.viewed_as(dims)


class Values:
    """Makes nodes for views where an operation needs a map of its own, or a tensor."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._views: dict[Any, Ref | Mapped] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def add_input(self, name: str, shape: Sequence[int]) -> Ref | Mapped:
        """The graph's input."""
        self._shapes[name] = tuple(shape)
        return Mapped.whole(name, shape)

    def add(self, node: Node, like: Mapped | None = None) -> Mapped:
        """Puts a node into the graph; its value is laid out as `like`, or as a map."""
        self.graph.nodes.append(node)
        shape = node.out_shape(self._shapes)
        self._shapes[node.name] = shape
        made = Mapped.whole(node.name, shape)
        assert isinstance(made, Mapped)
        if like is None or like.is_map():
            return made
        if made.sizes[1] == like.sizes[1]:
            return made.viewed_as(like.dims)
        # Pointwise: only the channels became others.
        last = len(like.dims.factors) - 1
        return made.viewed_as(like.dims.with_run(last, "c", made.sizes[1]))

    def add_torch(self, node: TorchNode, is_float32: bool) -> Ref | Mapped:
        """Puts a node that stays in torch into the graph."""
        self.graph.nodes.append(node)
        self._shapes[node.name] = node.shape
        return Mapped.whole(node.name, node.shape) if is_float32 else Ref(node.name)

    def add_constant(self, node: Constant) -> str:
        """Puts a constant that is given out into the graph, and gives the name of its value."""
        self.graph.nodes.append(node)
        return node.name

    def as_tensor(self, value: Any, shape: Sequence[int]) -> Ref:
        """The tensor itself, for torch."""
        if not isinstance(value, Mapped) or value.is_map():
            return Ref(value.name)
        key = (value, tuple(shape))
        if key not in self._views:
            factors = tuple(f for dim in value.dims.factors for f in dim)
            name = f"{value.name}_view{len(self._views)}"
            view = View(name, value.name, factors, value.dims.first, tuple(shape))
            self.graph.nodes.append(view)
            self._shapes[name] = tuple(shape)
            self._views[key] = Ref(name)
        return Ref(self._views[key].name)

    def cropped(self, value: Any) -> Any:
        """The same tensor as a view of a map that has no other pixels, where there can be one."""
        if not isinstance(value, Mapped) or value.covers("p") or not value.dims.is_one_range("p"):
            return value
        n, c, _, _ = value.sizes
        first, count = value.dims.start("p"), value.dims.size("p")
        key = (value.name, first, count)
        if key not in self._views:
            self._views[key] = self.add(
                Crop(f"{value.name}_crop{len(self._views)}", value.name, first, (1, count))
            )
        return Mapped(self._views[key].name, (n, c, 1, count), value.dims.from_start("p"))

    def whole(self, value: Any) -> Mapped | None:
        """A view that covers all of a map, in any order; None where there is none."""
        value = self.cropped(value)
        if not isinstance(value, Mapped):
            return None
        return value if all(map(value.covers, AXES)) else None

    def as_image(self, value: Any, shape: Sequence[int]) -> Mapped | None:
        """The map (N, C, H, W) that the tensor of `shape` is."""
        whole = self.whole(value)
        if whole is not None and whole.is_map() and whole.sizes == tuple(shape):
            return whole
        if len(shape) != 4 or not isinstance(value, Mapped):
            return None
        image = Mapped.whole(self.as_tensor(value, shape).name, shape)
        assert isinstance(image, Mapped)
        return image

    def as_tokens(self, value: Any, shape: Sequence[int]) -> Mapped | None:
        """A view of a whole map whose last dimension is the channels."""
        whole = self.whole(value)
        if whole is not None and whole.dims.is_run(len(shape) - 1, "c"):
            return whole
        if len(shape) < 2 or min(shape) < 1 or not isinstance(value, (Mapped, Ref)):
            return None
        source = self.as_tensor(value, shape).name
        channels, pixels = shape[-1], 1
        for size in shape[:-1]:
            pixels *= size
        key = (source, "map")
        if key not in self._views:
            name = f"{source}_map{len(self._views)}"
            self._views[key] = self.add(AsMap(name, source, (1, channels, 1, pixels)))
        return Mapped(self._views[key].name, (1, channels, 1, pixels), Dims.of_tokens(shape))


def along_axes(mapped: Mapped, constant: Tensor) -> Tensor | None:
    """A constant that broadcasts to a tensor, as (pixels, channels) float32 of its map; None where
    it differs between images."""
    factors = [f for dim in mapped.dims.factors for f in dim]
    try:
        spread = constant.to(torch.float32).expand(mapped.dims.shape())
    except RuntimeError:
        return None
    spread = spread.reshape([f.size for f in factors])
    order = sorted(
        range(len(factors)), key=lambda i: (AXES.index(factors[i].axis), -factors[i].stride)
    )
    n, c, h, w = mapped.sizes
    values = spread.permute(order).reshape(n, c, h * w)
    if bool((values != values[:1]).any()):
        return None
    return values[0].T.contiguous()

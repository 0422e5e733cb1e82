"""How the dimensions of a torch tensor follow from the axes of a map, through views of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

AXES = ("n", "c", "p")


class Factor(NamedTuple):
    """`size` steps of `stride` along an axis: the image, the channel, or the pixel h * W + w."""

    axis: str
    stride: int
    size: int


@dataclass(frozen=True)
class Dims:
    """Dimensions of a tensor that holds numbers of a map, each a list of factors, outer first.

    Attributes:
        factors: of each dimension; none for one of size 1. Neighbours that are one run are one.
        first: where it starts along each axis, for those where that is not 0.
    """

    factors: tuple[tuple[Factor, ...], ...]
    first: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of_map(cls, n: int, c: int, h: int, w: int) -> Dims:
        """Those of the map itself, (N, C, H, W)."""
        whole = [[Factor("n", 1, n)], [Factor("c", 1, c)], [Factor("p", w, h)], [Factor("p", 1, w)]]
        return cls(tuple(map(_joined, whole)))

    @classmethod
    def of_tokens(cls, shape: Sequence[int]) -> Dims:
        """(..., C), whose leading dimensions are the pixels of one image."""
        leading = []
        stride = prod(shape[:-1])
        for size in shape[:-1]:
            stride //= size
            leading.append([Factor("p", stride, size)])
        return cls(tuple(map(_joined, [*leading, [Factor("c", 1, shape[-1])]])))

    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return tuple(prod(f.size for f in dim) for dim in self.factors)

    def size(self, axis: str) -> int:
        """Places along an axis that it covers."""
        return prod(f.size for dim in self.factors for f in dim if f.axis == axis)

    def start(self, axis: str) -> int:
        """Where it starts along an axis."""
        return dict(self.first).get(axis, 0)

    def view(self, shape: Sequence[int]) -> Dims | None:
        """The same numbers in the same order as a tensor of `shape`; None where that mixes axes."""
        left = [f for dim in self.factors for f in dim]
        dims = []
        for size in shape:
            dim: list[Factor] = []
            while size > 1:
                factor = left.pop(0)
                if size % factor.size == 0:
                    dim.append(factor)
                    size //= factor.size
                elif factor.size % size == 0:
                    inner = factor.size // size
                    dim.append(Factor(factor.axis, factor.stride * inner, size))
                    left.insert(0, Factor(factor.axis, factor.stride, inner))
                    size = 1
                else:
                    return None
            dims.append(_joined(dim))
        return replace(self, factors=tuple(dims))

    def permute(self, order: Sequence[int]) -> Dims:
        """Dimension i of the result is dimension order[i]."""
        return replace(self, factors=tuple(self.factors[i] for i in order))

    def narrow(self, dim: int, start: int, length: int) -> Dims | None:
        """Places [start, start + length) of a dimension; None where that has several factors, or
        nothing is left."""
        dim %= len(self.factors)
        factors = self.factors[dim]
        if start == 0 and length == prod(f.size for f in factors):
            return self
        if len(factors) != 1 or length < 1:
            return None
        factor = factors[0]
        first = dict(self.first)
        first[factor.axis] = first.get(factor.axis, 0) + start * factor.stride
        dims = list(self.factors)
        dims[dim] = _joined([factor._replace(size=length)])
        return Dims(tuple(dims), tuple(sorted((a, s) for a, s in first.items() if s)))

    def is_run(self, dim: int, axis: str) -> bool:
        """A dimension is neighbouring places of one axis, and all that is covered of it."""
        factors = self.factors[dim]
        if not factors:
            return self.size(axis) == 1
        return len(factors) == 1 and factors[0] == Factor(axis, 1, self.size(axis))

    def is_one_range(self, axis: str) -> bool:
        """What is covered of an axis has no gaps."""
        stride = 1
        for factor in sorted(self.all_of(axis), key=lambda f: f.stride):
            if factor.stride != stride:
                return False
            stride *= factor.size
        return True

    def all_of(self, axis: str) -> list[Factor]:
        """Factors of an axis in the order of the dimensions."""
        return [f for dim in self.factors for f in dim if f.axis == axis]

    def from_start(self, axis: str) -> Dims:
        """The same, counted from where it starts along an axis."""
        return replace(self, first=tuple((a, s) for a, s in self.first if a != axis))

    def with_run(self, dim: int, axis: str, size: int) -> Dims:
        """Another size for a dimension that is a run of an axis."""
        dims = list(self.factors)
        dims[dim] = _joined([Factor(axis, 1, size)])
        return replace(self, factors=tuple(dims))


def _joined(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    """Without factors of size 1, and with neighbours that are one run joined."""
    joined: list[Factor] = []
    for factor in factors:
        if factor.size == 1:
            continue
        outer = joined[-1] if joined else None
        if outer and outer.axis == factor.axis and outer.stride == factor.stride * factor.size:
            joined[-1] = Factor(factor.axis, factor.stride, outer.size * factor.size)
        else:
            joined.append(factor)
    return tuple(joined)

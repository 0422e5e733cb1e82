"""Chooses how each sparse convolution runs by timing candidates; every size is timed at most once.

No choice of tiles changes a bit of the results. A layer of few zeros may be fastest on the dense
kernels, which are candidates too: those of 3x3 (Winograd) and of bf16 round in an order of their
own. int8 sums are exact, whatever is chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import log

import torch

from sparse_ovs import _native
from sparse_ovs.engine.graph import Conv
from sparse_ovs.engine.progress import Progress
from sparse_ovs.engine.tuning_cache import Choice, Choices, Size, load_tunings, store_tunings
from sparse_ovs.engine.weights import NativeConvWeights, pack_dense

_VARIABLE = "SPARSE_OVS_AUTOTUNE"
_CANDIDATES = 16  # a layer
_ROUNDS = 7
# Times closer than this say nothing, so the library's choice stays, or else the tile of fewest
# rows: those are the units of strips, and large ones crowd the caches of a whole plan.
_SAME = 1.03
# Dense kernels must win clearly: they hold more memory.
_DENSE_WINS = 0.9
_DENSEST_SPARSE = 0.2  # in fp32 they never do below this density


def autotune_allowed() -> bool:
    """Whether SPARSE_OVS_AUTOTUNE lets layers be timed.

    Raises:
        ValueError: it is neither 0 nor 1.
    """
    named = os.environ.get(_VARIABLE, "1")
    if named not in ("0", "1"):
        raise ValueError(f"expected {_VARIABLE} to be 0 or 1, got {named!r}")
    return named == "1"


class Tuner:
    """Tunings of one encoder's convolutions.

    Args:
        weights: of the encoder; layers that run fastest dense are made dense there.
        on: off, the library chooses all.
    """

    def __init__(self, weights: NativeConvWeights, on: bool) -> None:
        self._weights = weights
        self._on = on
        # Name and density by node; None where the weights have no zeros.
        self._layers: dict[str, tuple[str, float] | None] = {}
        self._known: Choices = {}
        self._found: Choices = {}
        self._progress: Progress | None = None  # while layers may be timed

    @contextmanager
    def timing(self, layers: int) -> Iterator[None]:
        """Inside, what the disk does not know is timed, and kept there at the end.

        Args:
            layers: that will be asked for.
        """
        if not self._on:
            yield
            return
        self._known = load_tunings()
        with Progress("tuning layers", layers) as self._progress:
            yield
        self._progress = None
        if self._found:
            store_tunings(self._found)
            self._found = {}

    def tuning(
        self,
        conv: Conv,
        shapes: Mapping[str, Sequence[int]],
        places: Mapping[str, _native.MapPlace],
        alone: bool,
    ) -> _native.Tuning | None:
        """Of a convolution; None lets the library choose.

        Args:
            shapes: (N, C, H, W) of its input and output, by name.
            places: where these maps lie in its plan, by name.
            alone: it is the plan's only step.
        """
        if not self._on:
            return None
        if self._progress is not None:
            self._progress.advance()
        spot = _native.ConvSpot(
            size=_map_size(shapes[conv.source]),
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            activation=conv.activation,
            input=places[conv.source],
            output=places[conv.name],
            residual=conv.residual is not None,
            alone=alone,
            bf16=conv.bf16,
        )
        layer = self._layer(conv, spot)
        if layer is None:
            return None
        size = _map_size(shapes[conv.name])
        choice = self._choice(layer, size, conv, spot)
        if choice is None:
            return None
        if choice.dense and self._progress is not None:
            self._weights.make_dense(conv)
        return choice.tuning if choice.dense == self._weights.is_dense(conv) else None

    def _layer(self, conv: Conv, spot: _native.ConvSpot) -> str | None:
        """What names the layer in the cache: all that its best tuning depends on but its size."""
        if conv.name not in self._layers:
            rows = self._weights[conv].block_rows
            self._layers[conv.name] = None if rows is None else _describe(conv, rows)
        layer = self._layers[conv.name]
        if layer is None:
            return None
        # Narrow maps live inside plans alone, where every layout is the same to their kernels.
        if conv.weight_scales is not None:
            return f"{layer[0]}, int8"
        if conv.bf16:
            return f"{layer[0]}, {_native.bf16_isa()}"
        return layer[0] + _describe_place(spot, layer[1])

    def _choice(self, layer: str, size: Size, conv: Conv, spot: _native.ConvSpot) -> Choice | None:
        sizes = self._known.setdefault(layer, {})
        if size in sizes:
            return sizes[size]
        if self._progress is not None:
            choice = sizes[size] = _time(self._weights[conv], conv, spot)
            self._found.setdefault(layer, {})[size] = choice
            return choice
        if not sizes:
            return None
        nearest = min(sizes, key=lambda known: _distance(known, size))
        return _moved(sizes[nearest], nearest, size)


def _map_size(shape: Sequence[int]) -> Size:
    n, _, h, w = shape
    return n, h, w


def _describe(conv: Conv, rows: int) -> tuple[str, float]:
    def sides(pair: Sequence[int]) -> str:
        return "x".join(map(str, pair))

    density = _density(conv)
    name = (
        f"{sides(conv.weight.shape)}, stride {sides(conv.stride)}, padding {sides(conv.padding)}, "
        f"dilation {sides(conv.dilation)}, groups {conv.groups}, activation {conv.activation}, "
        f"blocks of {rows}, density {density:.2g}"
    )
    return name, density


def _describe_place(spot: _native.ConvSpot, density: float) -> str:
    """What of its place the choice depends on: without dense candidates, the input's layout."""
    free = _native.MapPlace.FREE
    own = (free, _native.MapPlace.TILED)
    source, target = ("tiles" if at in own else at.name for at in (spot.input, spot.output))
    if density < _DENSEST_SPARSE:
        return "" if spot.input in own else f", from {source}"
    if spot.input == spot.output == free:
        return ", maps of any layout"
    alone = f", alone{' with a residual' * spot.residual}" if spot.alone else ""
    return f", from {source} to {target}{alone}"


def _density(conv: Conv) -> float:
    return int(torch.count_nonzero(conv.weight)) / conv.weight.numel()


def _time(weights: _native.NativeWeights, conv: Conv, spot: _native.ConvSpot) -> Choice:
    tuning, seconds = _fastest(weights, spot)
    if conv.weight_scales is not None or conv.bf16 or _density(conv) >= _DENSEST_SPARSE:
        dense_tuning, dense_seconds = _fastest(pack_dense(conv), spot)
        if dense_seconds < _DENSE_WINS * seconds:
            return Choice(dense_tuning, dense=True)
    return Choice(tuning)


def _fastest(
    weights: _native.NativeWeights, spot: _native.ConvSpot
) -> tuple[_native.Tuning, float]:
    candidates = weights.candidates(spot, _CANDIDATES)
    seconds = weights.time(spot, candidates, _ROUNDS)
    best = min(seconds)
    good = [i for i, spent in enumerate(seconds) if spent <= _SAME * best]
    place = 0 if 0 in good else min(good, key=lambda i: (candidates[i].tile_rows, seconds[i]))
    return candidates[place], best


def _distance(a: Size, b: Size) -> float:
    return sum(abs(log(x / y)) for x, y in zip(a, b, strict=True))


def _moved(choice: Choice, known: Size, size: Size) -> Choice:
    """A tuning for another size: tiles that cut one width evenly do not cut others so."""
    if known[2] == size[2]:
        return choice
    return replace(choice, tuning=replace(choice.tuning, tile_rows=0, tile_cols=0))

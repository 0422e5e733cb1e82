"""What the ops remember of a layer: the library's copies of its weights, and its plans."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from functools import partial

from torch import Tensor

from sparse_ovs._native import NativeWeights, Plan, WeightGradient
from sparse_ovs.ops.by_structure import ByStructure
from sparse_ovs.ops.layer import Layer
from sparse_ovs.ops.library_weights import (
    pack,
    refresh,
    refresh_transposed,
    structure_version,
    values_version,
)
from sparse_ovs.ops.plan_cache import PLANS_KEPT, PlanCache


class LayerStreams:
    """What is kept of one packed structure: its weights for the forward pass, and transposed for
    the input's gradient; how the weight's gradient is computed."""

    def __init__(self) -> None:
        self._forward, self._transposed = PlanCache(), PlanCache()
        self._lock = threading.Lock()
        self._gradients: OrderedDict[Hashable, WeightGradient] = OrderedDict()

    def plan(
        self, layer: Layer, key: Hashable, build: Callable[[NativeWeights], Plan]
    ) -> AbstractContextManager[Plan]:
        """The forward plan for `key`, over up-to-date weights; see PlanCache.plan."""
        return self._forward.plan(
            structure_version(layer),
            values_version(layer),
            partial(pack, layer),
            partial(refresh, layer),
            key,
            build,
        )

    def transposed_plan(
        self, layer: Layer, key: Hashable, build: Callable[[NativeWeights], Plan]
    ) -> AbstractContextManager[Plan]:
        """The input gradient's plan for `key`, over up-to-date weights; see PlanCache.plan."""

        def make() -> NativeWeights:
            made = self._structure_of(layer).transpose()
            refresh_transposed(layer, made)
            return made

        return self._transposed.plan(
            structure_version(layer),
            values_version(layer),
            make,
            partial(refresh_transposed, layer),
            key,
            build,
        )

    def weight_gradient(
        self, layer: Layer, key: Hashable, build: Callable[[NativeWeights], WeightGradient]
    ) -> WeightGradient:
        """How the weight's gradient is computed for `key`; `build` makes it where none is kept."""
        key = (structure_version(layer), key)
        with self._lock:
            found = self._gradients.get(key)
            if found is None:
                found = self._gradients[key] = build(self._structure_of(layer))
                if len(self._gradients) > PLANS_KEPT:
                    self._gradients.popitem(last=False)
            self._gradients.move_to_end(key)
            return found

    def _structure_of(self, layer: Layer) -> NativeWeights:
        """Native weights of the layer's structure; their values may be of any age."""
        return self._forward.weights_of(structure_version(layer), partial(pack, layer))

    def forget(self) -> None:
        """Makes the next calls read the values again."""
        self._forward.forget()
        self._transposed.forget()

    def after_fork(self) -> None:
        """In a forked child."""
        self._forward.after_fork()
        self._transposed.after_fork()
        if self._lock.locked():
            self._lock = threading.Lock()
            self._gradients = OrderedDict()

    def nbytes(self) -> int:
        """Bytes that the library holds for this layer now, gradients' own streams aside."""
        return self._forward.nbytes() + self._transposed.nbytes()


_streams = ByStructure(LayerStreams)


def streams_of(indices: Tensor) -> LayerStreams:
    """The streams kept for a packed structure, made at its first use."""
    return _streams.of(indices)


def _after_fork() -> None:
    _streams.after_fork()
    for layer in _streams.all():
        layer.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def stream_bytes(indices: Tensor) -> int:
    """Bytes that the library holds for a packed structure: compact copy and expanded streams."""
    return streams_of(indices).nbytes()

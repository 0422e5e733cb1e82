"""Native weights that follow the tensors they come from, and plans over them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from sparse_ovs._native import NativeWeights, Plan

# Input shapes that a layer keeps plans for; a plan holds a stream expanded for its tiles.
PLANS_KEPT = 4


class PlanCache:
    """Native weights that follow the tensors they come from, and the plans that run them.

    The structure and all plans stay where only values changed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._structure: Hashable = None
        self._versions: Hashable = None
        self._weights: NativeWeights | None = None
        self._plans: OrderedDict[Hashable, Plan] = OrderedDict()
        self._running = 0

    @contextmanager
    def plan(
        self,
        structure: Hashable,
        versions: Hashable,
        make: Callable[[], NativeWeights],
        refresh: Callable[[NativeWeights], None],
        key: Hashable,
        build: Callable[[NativeWeights], Plan],
    ) -> Iterator[Plan]:
        """The plan for `key` over up-to-date weights, to be run inside the block; `build` makes
        it where none is kept."""
        with self._lock:
            weights = self._current(structure, versions, make, refresh)
            plan = self._plans.get(key)
            if plan is None:
                plan = self._plans[key] = build(weights)
                if len(self._plans) > PLANS_KEPT:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(key)
            self._running += 1
        try:
            yield plan
        finally:
            with self._lock:
                self._running -= 1

    def _current(
        self,
        structure: Hashable,
        versions: Hashable,
        make: Callable[[], NativeWeights],
        refresh: Callable[[NativeWeights], None],
    ) -> NativeWeights:
        """Under the lock."""
        if self._weights is not None and (structure, versions) == (self._structure, self._versions):
            return self._weights
        # A plan that runs at this moment keeps the values that it began with.
        if self._weights is None or structure != self._structure or self._running:
            self._weights = make()
            self._plans.clear()
        else:
            refresh(self._weights)
        self._structure, self._versions = structure, versions
        return self._weights

    def weights_of(self, structure: Hashable, make: Callable[[], NativeWeights]) -> NativeWeights:
        """Native weights of that structure; their values may be of any age."""
        with self._lock:
            if self._weights is not None and structure == self._structure:
                return self._weights
        return make()

    def forget(self) -> None:
        """Makes the next call read the values again."""
        with self._lock:
            self._versions = None

    def after_fork(self) -> None:
        """In a forked child: what another thread was doing at the fork stays half done for ever."""
        self._running = 0
        if self._lock.locked():
            self._lock = threading.Lock()
            self._weights = None

    def nbytes(self) -> int:
        """Bytes that the library holds for this layer now."""
        with self._lock:
            return 0 if self._weights is None else self._weights.nbytes()

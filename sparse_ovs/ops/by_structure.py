"""What the ops remember of each layer, found by the structure that its module hands them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

Kept = TypeVar("Kept")


class ByStructure(Generic[Kept]):
    """One object for each packed structure, made at its first use; it goes with the structure.

    By the storage of the packed indices: torch may hand an op a new tensor over the same storage
    (detach, compile), and a storage's Python object lives exactly as long as the memory does.
    """

    def __init__(self, make: Callable[[], Kept]) -> None:
        self._make = make
        self._kept: dict[int, tuple[weakref.ref[torch.UntypedStorage], Kept]] = {}
        self._lock = threading.Lock()

    def of(self, indices: Tensor) -> Kept:
        """What is kept for the structure of these indices."""
        storage = indices.untyped_storage()
        key = id(storage)
        with self._lock:
            known = self._kept.get(key)
            if known is not None and known[0]() is storage:
                return known[1]
            made = self._make()
            # The callback may run late, when the id serves another storage: it removes only its
            # own entry.
            self._kept[key] = (weakref.ref(storage, lambda ref: self._drop(key, ref)), made)
            return made

    def _drop(self, key: int, ref: weakref.ref[torch.UntypedStorage]) -> None:
        known = self._kept.get(key)
        if known is not None and known[0] is ref:
            del self._kept[key]

    def all(self) -> list[Kept]:
        """What is kept, for every structure that lives."""
        return [kept for _, kept in list(self._kept.values())]

    def after_fork(self) -> None:
        """In a forked child: another thread may have held the lock at the fork."""
        self._lock = threading.Lock()

"""What the interpreter is watched for: bounds, alignment, races of programs, masked lanes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle, interpreter_builder

from ..ranges import Range, reachable
from . import arithmetic
from .formats import is_narrow

_SECTOR = 32  # bytes


class ProbeError(AssertionError):
    """A program reached what it must not, or two programs raced."""


class Probe:
    """Checks of one `interpreting` block, and what its launches did.

    `counts` has load_bytes, load_sectors, store_bytes, store_sectors, atomic_bytes (sectors of 32
    bytes, counted once for each access of a tile), dot_flops (1 MAC = 2) and dots.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._ranges: list[Range] = []
        # Of each byte address that was written: the program, and how it wrote.
        self._writers: dict[int, tuple[tuple[int, ...], str]] = {}

    def start_launch(self, tensors: list[Any]) -> None:
        """Forgets the last launch's writes: launches follow one another."""
        self._ranges = reachable(tensors)
        self._writers.clear()

    def load(self, pointers: TensorHandle, mask: TensorHandle) -> None:
        addresses, size = self._check(pointers, mask, "load")
        self.counts["load_bytes"] += addresses.size * size
        self.counts["load_sectors"] += np.unique(addresses // _SECTOR).size
        if not self._writers:
            return
        me = interpreter_builder.grid_idx
        for address in addresses.tolist():
            program, how = self._writers.get(address, (me, ""))
            if program != me and how == "store":
                raise ProbeError(f"race: program {me} loads what program {program} stores")

    def store(self, pointers: TensorHandle, mask: TensorHandle) -> None:
        addresses, size = self._check(pointers, mask, "store")
        self.counts["store_bytes"] += addresses.size * size
        self.counts["store_sectors"] += np.unique(addresses // _SECTOR).size
        if np.unique(addresses).size != addresses.size:
            raise ProbeError("race: two lanes of one store write the same address")
        me = interpreter_builder.grid_idx
        for address in addresses.tolist():
            program, how = self._writers.get(address, (me, ""))
            if program != me:
                raise ProbeError(f"race: program {me} stores where program {program} has a {how}")
            self._writers[address] = (me, "store")

    def atomic(self, pointers: TensorHandle, mask: TensorHandle) -> None:
        addresses, size = self._check(pointers, mask, "atomic")
        self.counts["atomic_bytes"] += addresses.size * size
        me = interpreter_builder.grid_idx
        for address in addresses.tolist():
            program, how = self._writers.get(address, (me, ""))
            if program != me and how == "store":
                raise ProbeError(f"race: program {me} has an atomic where program {program} stores")
            self._writers[address] = (me, "atomic")

    def dot(self, a: TensorHandle, b: TensorHandle) -> None:
        batch = a.data.shape[0] if a.data.ndim == 3 else 1
        self.counts["dot_flops"] += (
            2 * batch * a.data.shape[-2] * a.data.shape[-1] * b.data.shape[-1]
        )
        self.counts["dots"] += 1

    def _check(
        self, pointers: TensorHandle, mask: TensorHandle, what: str
    ) -> tuple[np.ndarray, int]:
        """The addresses of the lanes that count, and the bytes of an element."""
        size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        every = np.asarray(pointers.data).astype(np.uint64)
        addresses = every[np.broadcast_to(np.asarray(mask.data, bool), every.shape)].ravel()
        if addresses.size == 0:
            return addresses, size
        if not self._ranges:
            raise ProbeError(f"out-of-bounds {what}: the launch has no tensors")
        firsts = np.array([first for first, _ in self._ranges], np.uint64)
        ends = np.array([end for _, end in self._ranges], np.uint64)
        index = np.searchsorted(firsts, addresses, "right").astype(np.int64) - 1
        outside = (index < 0) | (addresses + np.uint64(size) > ends[np.maximum(index, 0)])
        if outside.any():
            raise ProbeError(
                f"out-of-bounds {what} of {size} bytes at {int(addresses[outside][0]):#x}, "
                f"{int(outside.sum())} lanes of program {interpreter_builder.grid_idx}"
            )
        if (addresses % np.uint64(size)).any():
            raise ProbeError(f"misaligned {what} of {size} bytes")
        return addresses, size

    def hooks(self) -> list[tuple[Any, str, Any]]:
        """(owner, attribute, replacement) of the interpreter's memory operations and dots."""
        load = InterpreterBuilder.create_masked_load
        store = InterpreterBuilder.create_masked_store
        add = InterpreterBuilder.create_atomic_rmw
        swap = InterpreterBuilder.create_atomic_cas

        def masked_load(
            builder: Any, pointers: Any, mask: Any, other: Any, *rest: Any, **kw: Any
        ) -> Any:
            self.load(pointers, mask)
            if other is None:
                other = _poison(pointers)
            return load(builder, pointers, mask, other, *rest, **kw)

        def masked_store(builder: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
            self.store(pointers, mask)
            return store(builder, pointers, value, mask, *rest)

        def atomic_rmw(
            builder: Any, op: Any, pointer: Any, value: Any, mask: Any, *rest: Any
        ) -> Any:
            if is_narrow(value):
                raise NotImplementedError("atomics of bf16 or fp8 in the interpreter")
            self.atomic(pointer, mask)
            return add(builder, op, pointer, value, mask, *rest)

        def atomic_cas(builder: Any, pointer: Any, *rest: Any) -> Any:
            self.atomic(pointer, TensorHandle(np.ones_like(pointer.data, dtype=bool), tl.int1))
            return swap(builder, pointer, *rest)

        def dot(builder: Any, a: Any, b: Any, acc: Any, precision: Any, imprecise: Any) -> Any:
            self.dot(a, b)
            return arithmetic.dot(a, b, acc, precision)

        return [
            (InterpreterBuilder, "create_masked_load", masked_load),
            (InterpreterBuilder, "create_masked_store", masked_store),
            (InterpreterBuilder, "create_atomic_rmw", atomic_rmw),
            (InterpreterBuilder, "create_atomic_cas", atomic_cas),
            (InterpreterBuilder, "create_dot", dot),
        ]


def _poison(pointers: TensorHandle) -> TensorHandle:
    """What masked lanes hold where the load names no `other`: NaN, or a large integer."""
    kind = pointers.get_element_ty()
    held = interpreter._get_np_dtype(kind)
    if kind == tl.bfloat16:
        value: Any = 0x7FC1
    elif held.kind == "f":
        value = np.nan
    elif held.kind in "iu":
        value = np.iinfo(held).max // 3
    else:
        value = True
    return TensorHandle(np.full(pointers.data.shape, value, held), kind)

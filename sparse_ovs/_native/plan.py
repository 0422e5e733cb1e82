"""Plans: programs for maps of one size, run as one call."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

from sparse_ovs._native.loading import check, library
from sparse_ovs._native.step_info import StepInfo
from sparse_ovs._native.structures import FLOAT32, FLOAT_BYTES, Buffer, Map, StepInfoStructure
from sparse_ovs._native.tuning import PANELS

NCHW, NHWC = 0, 1


class Plan:
    """A plan of the library; `records` is the number of its program's steps."""

    def __init__(self, handle: ctypes.c_void_p, inputs: int, outputs: int, records: int) -> None:
        lib = library()
        self._handle = handle
        weakref.finalize(self, lib.sovs_plan_destroy, handle)
        self._records = records
        self._in_bytes = [self._bytes(lib.sovs_plan_input, i) for i in range(inputs)]
        self._out_bytes = [self._bytes(lib.sovs_plan_output, i) for i in range(outputs)]

    def _bytes(self, of_map: Any, number: int) -> int:
        described = Map()
        check(of_map(self._handle, number, ctypes.byref(described)))
        return int(described.n * described.c * described.h * described.w * FLOAT_BYTES)

    def run_many(self, inputs: Sequence[int], outputs: Sequence[int], threads: int) -> None:
        """Runs on the addresses of the maps, in the program's order; the GIL is released."""
        given, made = _buffers(inputs, self._in_bytes), _buffers(outputs, self._out_bytes)
        check(library().sovs_plan_run(self._handle, given, len(given), made, len(made), threads))

    def time(self, inputs: Sequence[int], outputs: Sequence[int], threads: int) -> list[float]:
        """run_many; seconds spent in each record, in their order."""
        given, made = _buffers(inputs, self._in_bytes), _buffers(outputs, self._out_bytes)
        seconds = (ctypes.c_double * self._records)()
        check(
            library().sovs_plan_time(
                self._handle, given, len(given), made, len(made), threads, seconds
            )
        )
        return list(seconds)

    def step_infos(self) -> list[StepInfo]:
        """What runs, in order: the steps of the records, and copies at the plan's edge."""
        lib, found = library(), []
        for i in range(lib.sovs_plan_step_count(self._handle)):
            info = StepInfoStructure()
            check(lib.sovs_plan_step_info(self._handle, i, ctypes.byref(info)))
            found.append(
                StepInfo(
                    info.record,
                    None if info.strip_group < 0 else info.strip_group,
                    info.backend.decode(),
                    (info.n, info.c, info.h, info.w),
                    info.tile,
                    info.density,
                    info.tile_rows,
                    info.tile_cols,
                    info.k_tile,
                    info.row_parts,
                    PANELS[info.panel],
                )
            )
        return found

    def arena_nbytes(self) -> int:
        """Bytes of activations that one run holds inside."""
        return int(library().sovs_plan_arena_bytes(self._handle))

    def run(self, inputs: Sequence[int], output: int, threads: int) -> None:
        """run_many for a plan of one output."""
        self.run_many(inputs, [output], threads)


def _buffers(addresses: Sequence[int], sizes: Sequence[int]) -> Any:
    return (Buffer * len(sizes))(
        *[Buffer(at, size, FLOAT32) for at, size in zip(addresses, sizes, strict=True)]
    )

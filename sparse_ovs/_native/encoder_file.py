"""Encoders in plan files."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence

from sparse_ovs._native.loading import check, library
from sparse_ovs._native.plan import Plan
from sparse_ovs._native.structures import Shape


class EncoderFile:
    """A whole encoder, read from a plan file; runs inputs of any size. Safe under concurrent calls.

    Raises ValueError where the file is damaged, foreign or newer than the library.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        lib = library()
        self._handle = ctypes.c_void_p()
        check(lib.sovs_encoder_load(os.fsencode(path), ctypes.byref(self._handle)))
        weakref.finalize(self, lib.sovs_encoder_destroy, self._handle)
        self.channels = int(lib.sovs_encoder_input_channels(self._handle))
        self.outputs = int(lib.sovs_encoder_output_count(self._handle))
        self.header: str = lib.sovs_encoder_header(self._handle).decode()

    def output_shapes(self, n: int, h: int, w: int) -> list[tuple[int, int, int, int]]:
        """Shapes (N, C, H, W) of the outputs for n images of h x w pixels."""
        shapes = (Shape * self.outputs)()
        check(library().sovs_encoder_outputs(self._handle, n, h, w, shapes))
        return [(s.n, s.c, s.h, s.w) for s in shapes]

    def run(
        self, source: int, n: int, h: int, w: int, outputs: Sequence[int], threads: int
    ) -> None:
        """Runs on the addresses of NCHW maps; the GIL is released."""
        results = (ctypes.c_void_p * self.outputs)(*outputs)
        check(library().sovs_encoder_run(self._handle, source, n, h, w, results, threads))

    def plan(self, n: int, h: int, w: int, threads: int, steps: int) -> Plan:
        """The plan that runs such an input, of `steps` steps."""
        handle = ctypes.c_void_p()
        check(library().sovs_encoder_plan(self._handle, n, h, w, threads, ctypes.byref(handle)))
        plan = Plan.__new__(Plan)
        plan._adopt(handle)
        plan._counts, plan._steps = (1, self.outputs), steps
        return plan

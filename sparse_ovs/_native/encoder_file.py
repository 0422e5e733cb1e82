"""Encoders in plan files."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from math import prod

from sparse_ovs._native.loading import check, library
from sparse_ovs._native.plan import Plan
from sparse_ovs._native.structures import FLOAT32, FLOAT_BYTES, Buffer, Map, array_of


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
        maps = array_of(Map, self.outputs)
        check(library().sovs_encoder_outputs(self._handle, n, h, w, maps))
        return [(m.n, m.c, m.h, m.w) for m in maps]

    def run(
        self,
        source: int,
        size: tuple[int, int, int],
        outputs: Sequence[tuple[int, Sequence[int]]],
        threads: int,
    ) -> None:
        """Runs n images of h x w pixels; the GIL is released.

        Args:
            source: address of the NCHW map.
            size: n, h, w.
            outputs: address and shape of each, see output_shapes.
        """
        n, h, w = size
        given = _buffer(source, (n, self.channels, h, w))
        made = (Buffer * len(outputs))(*[_buffer(at, shape) for at, shape in outputs])
        check(
            library().sovs_encoder_run(
                self._handle, ctypes.byref(given), n, h, w, made, len(made), threads
            )
        )

    def plan(self, n: int, h: int, w: int, threads: int, records: int) -> Plan:
        """The plan that runs such an input, of `records` records."""
        handle = ctypes.c_void_p()
        check(library().sovs_encoder_plan(self._handle, n, h, w, threads, ctypes.byref(handle)))
        return Plan(handle, 1, self.outputs, records)


def _buffer(address: int, shape: Sequence[int]) -> Buffer:
    return Buffer(address, FLOAT_BYTES * prod(shape), FLOAT32)

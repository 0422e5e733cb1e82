"""Packed or dense weights of one layer inside the library."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence

from sparse_ovs._native.loading import check, library
from sparse_ovs._native.structures import FLOAT32, S8, TuningStructure, WeightsDesc, array_of
from sparse_ovs._native.tuning import ConvSpot, Tuning, tuning_of, tuning_structure


class NativeWeights:
    """Packed weights of one layer, copied into the library. Addresses are of contiguous CPU memory.

    Values are fp32, or s8 where there are `scales`, fp32 (O,): a weight is its integer times its
    output channel's scale. `block_rows` is None where they are dense. Raises ValueError where the
    library finds the structure damaged.
    """

    block_rows: int | None

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        groups: int,
        block_rows: int,
        row_ptr: int,
        indices: int,
        index_bits: int,
        values: int,
        bias: int | None,
        scales: int | None = None,
    ) -> None:
        structure = (block_rows, row_ptr, indices, index_bits)
        self._adopt(_create(shape, groups, structure, values, bias, scales), block_rows)

    def _adopt(self, handle: ctypes.c_void_p, block_rows: int | None) -> None:
        self._handle = handle
        self.block_rows = block_rows
        weakref.finalize(self, library().sovs_weights_destroy, handle)

    @classmethod
    def dense(
        cls,
        shape: tuple[int, int, int, int],
        groups: int,
        weight: int,
        bias: int | None,
        scales: int | None = None,
    ) -> NativeWeights:
        """Dense weights (O, I / groups, kh, kw) for the library's own dense kernels."""
        made = cls.__new__(cls)
        made._adopt(_create(shape, groups, (0, None, None, 0), weight, bias, scales), None)
        return made

    def transpose(self) -> NativeWeights:
        """The weights of the convolution that gives the input's gradient of one of stride 1:
        channels swapped within each group, taps reversed, no bias. Updates take the original's
        weight."""
        made = NativeWeights.__new__(NativeWeights)
        handle = ctypes.c_void_p()
        check(library().sovs_weights_transpose(self._handle, ctypes.byref(handle)))
        made._adopt(handle, 1)
        return made

    def update(self, weight: int, bias: int | None, threads: int) -> None:
        """Takes new values from a dense weight (O, I / groups, kh, kw), fp32; plans follow, and
        none may run meanwhile. bias None leaves the old one. Raises ValueError for weights that
        are held once."""
        check(library().sovs_weights_update(self._handle, weight, bias, threads))

    def hold_once(self) -> None:
        """From here on memory comes first: the weights are held once, and plans of all input sizes
        share them where they can."""
        check(library().sovs_weights_hold_once(self._handle))

    def nbytes(self) -> int:
        """Bytes held by the library: the compact copy and the streams of all live plans."""
        return int(library().sovs_weights_bytes(self._handle))

    def packed_nbytes(self) -> int:
        """Bytes of the compact copy alone."""
        return int(library().sovs_weights_packed_bytes(self._handle))

    def unpack(self, dense: int) -> None:
        """Writes the dense weight (O, I / groups, kh, kw), fp32, to that address."""
        check(library().sovs_weights_unpack(self._handle, dense))

    def backend(self, spot: ConvSpot) -> str:
        """What a plan runs them with there, as its steps show it."""
        name = ctypes.c_char_p()
        params, place = spot.structures()
        check(
            library().sovs_conv2d_backend(
                self._handle, ctypes.byref(params), ctypes.byref(place), ctypes.byref(name)
            )
        )
        assert name.value is not None
        return name.value.decode()

    def candidates(self, spot: ConvSpot, most: int) -> list[Tuning]:
        """Tunings worth timing: what the library would choose itself, then others."""
        found, count = array_of(TuningStructure, most), ctypes.c_int32(most)
        params, place = spot.structures()
        check(
            library().sovs_conv2d_candidates(
                self._handle, ctypes.byref(params), ctypes.byref(place), found, ctypes.byref(count)
            )
        )
        return [tuning_of(t) for t in found[: count.value]]

    def time(self, spot: ConvSpot, tunings: Sequence[Tuning], rounds: int) -> list[float]:
        """Seconds that one thread takes there with each tuning: the best of `rounds`."""
        wanted = (TuningStructure * len(tunings))(*map(tuning_structure, tunings))
        seconds = (ctypes.c_double * len(tunings))()
        params, place = spot.structures()
        check(
            library().sovs_conv2d_time(
                self._handle,
                ctypes.byref(params),
                ctypes.byref(place),
                wanted,
                len(tunings),
                rounds,
                seconds,
            )
        )
        return list(seconds)


def _create(
    shape: tuple[int, int, int, int],
    groups: int,
    structure: tuple[int, int | None, int | None, int],
    values: int,
    bias: int | None,
    scales: int | None,
) -> ctypes.c_void_p:
    dtype = FLOAT32 if scales is None else S8
    desc = WeightsDesc(*shape, groups, *structure, values, dtype, scales, bias)
    handle = ctypes.c_void_p()
    check(library().sovs_weights_create(ctypes.byref(desc), ctypes.byref(handle)))
    return handle

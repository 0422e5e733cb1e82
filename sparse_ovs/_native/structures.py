"""The structs of the C header, field by field; each begins with its size, which is set here."""

from __future__ import annotations

import ctypes
from typing import Any

FLOAT32, S8, BF16 = 0, 2, 4  # sovs_dtype
FLOAT_BYTES = 4

_i64 = ctypes.c_int64
_at = ctypes.c_void_p


class Sized(ctypes.Structure):
    """A struct whose first field is its size; arguments are those of the fields after it."""

    def __init__(self, *values: Any) -> None:
        super().__init__(ctypes.sizeof(type(self)), *values)


def array_of(kind: type[Sized], count: int) -> Any:
    """An array of structs for the library to fill."""
    return (kind * count)(*[kind() for _ in range(count)])


class Buffer(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("data", _at),
        ("bytes", ctypes.c_size_t),
        ("dtype", _i64),
    ]


class Map(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        *((name, _i64) for name in ("n", "c", "h", "w", "layout", "dtype")),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
    ]


class WeightsDesc(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        *((name, _i64) for name in ("out_channels", "in_channels", "kernel_h", "kernel_w")),
        *((name, _i64) for name in ("groups", "block_rows")),
        *((name, _at) for name in ("row_ptr", "indices")),
        ("index_bits", _i64),
        ("values", _at),
        ("dtype", _i64),
        ("scales", _at),
        ("bias", _at),
    ]


class NamedWeights(Sized):
    _fields_ = [("size", ctypes.c_size_t), ("name", ctypes.c_char_p), ("weights", _at)]


class NamedTensor(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("data", _at),
        ("dtype", _i64),
        ("rank", _i64),
        ("shape", _at),
    ]


class TuningStructure(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        *((name, _i64) for name in ("tile_rows", "tile_cols", "k_tile", "row_parts", "panel")),
    ]


class StepInfoStructure(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("record", ctypes.c_int32),
        ("strip_group", ctypes.c_int32),
        ("backend", ctypes.c_char_p),
        *((name, _i64) for name in ("n", "c", "h", "w", "tile")),
        ("density", ctypes.c_double),
        *((name, _i64) for name in ("tile_rows", "tile_cols", "k_tile", "row_parts", "panel")),
    ]


class Conv2dParams(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        *((name, _i64) for name in ("stride_h", "stride_w", "pad_h", "pad_w")),
        *((name, _i64) for name in ("dilation_h", "dilation_w", "activation")),
    ]


class Conv2dPlace(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        *((name, _i64) for name in ("n", "h", "w", "input", "output", "residual", "alone")),
        ("dtype", _i64),
    ]


class MaskWindow(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        *((name, _i64) for name in ("top", "left", "h", "w")),
        *((name, _i64) for name in ("queries", "grid_h", "grid_w")),
        ("logits", _at),
        ("probabilities", _at),
    ]


class DeformableParams(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        *((name, _i64) for name in ("n", "queries", "heads", "depth", "levels", "points")),
        ("shapes", ctypes.POINTER(_i64)),
    ]

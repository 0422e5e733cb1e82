"""The structs of the C header, field by field."""

from __future__ import annotations

import ctypes


class WeightsDesc(ctypes.Structure):
    _fields_ = [
        ("out_channels", ctypes.c_int64),
        ("in_channels", ctypes.c_int64),
        ("kernel_h", ctypes.c_int64),
        ("kernel_w", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("block_rows", ctypes.c_int64),
        ("row_ptr", ctypes.c_void_p),
        ("indices", ctypes.c_void_p),
        ("index_bits", ctypes.c_int64),
        ("values", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    ]


class MaskWindow(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("top", "left", "h", "w")),
        *((name, ctypes.c_int64) for name in ("queries", "grid_h", "grid_w")),
        ("logits", ctypes.c_void_p),
        ("probabilities", ctypes.c_void_p),
    ]


class Shape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in "nchw"]


TUNING_FIELDS = [
    (name, ctypes.c_int64) for name in ("tile_rows", "tile_cols", "k_tile", "row_parts", "panel")
]


class TuningStructure(ctypes.Structure):
    _fields_ = TUNING_FIELDS


class StepInfoStructure(ctypes.Structure):
    _fields_ = [
        ("step", ctypes.c_int32),
        ("strip_group", ctypes.c_int32),
        ("backend", ctypes.c_char_p),
        *[(name, ctypes.c_int64) for name in ("n", "c", "h", "w", "tile")],
        ("density", ctypes.c_double),
        *TUNING_FIELDS,
    ]


class Conv2dParams(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "stride_h",
            "stride_w",
            "pad_h",
            "pad_w",
            "dilation_h",
            "dilation_w",
            "activation",
        )
    ]


class AttentionParams(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("heads", "head_channels", "query", "key", "value")),
        ("scale", ctypes.c_float),
    ]


class Conv2dPlace(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("n", "h", "w", "pixel_major")]


class DeformableParams(ctypes.Structure):
    _fields_ = [
        *[
            (name, ctypes.c_int64)
            for name in ("n", "queries", "heads", "depth", "levels", "points")
        ],
        ("shapes", ctypes.POINTER(ctypes.c_int64)),
    ]

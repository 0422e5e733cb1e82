"""Number formats that NumPy lacks (bf16, fp8, tf32), rounded to nearest even as a GPU does.

The interpreter keeps bf16 in uint16 and fp8 in uint8, and upstream's conversions truncate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import TensorHandle

_TORCH = {
    tl.float16: torch.float16,
    tl.bfloat16: torch.bfloat16,
    tl.float32: torch.float32,
    tl.float64: torch.float64,
    tl.float8e5: torch.float8_e5m2,
    tl.float8e4nv: torch.float8_e4m3fn,
}
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_NARROW = (tl.bfloat16, tl.float8e5, tl.float8e4nv)

_upstream_convert = interpreter._convert_float


def is_narrow(handle: TensorHandle) -> bool:
    """Whether the interpreter holds these floats as unsigned integers."""
    return handle.dtype.scalar in _NARROW


def convert_float(data: np.ndarray, source: Any, target: Any, rounding: Any) -> np.ndarray:
    """The bits of `data` in another float format, as unsigned integers; replaces upstream's."""
    toward_zero = rounding is not None and rounding == interpreter._ir.ROUNDING_MODE.RTZ
    if source not in _TORCH or target not in _TORCH or toward_zero:
        return _upstream_convert(data, source, target, rounding)
    data = np.asarray(data)
    if data.size == 0:
        return np.empty(data.shape, _UNSIGNED[target.primitive_bitwidth // 8])
    floats = torch.frombuffer(bytearray(data.tobytes()), dtype=_TORCH[source])
    converted = floats.to(_TORCH[target])
    raw = converted.view(torch.uint8).numpy().view(_UNSIGNED[converted.element_size()])
    return raw.reshape(data.shape)


def widen(handle: TensorHandle) -> TensorHandle:
    """A bf16 or fp8 handle as float32; others as they are."""
    if not is_narrow(handle):
        return handle
    bits = convert_float(handle.data, handle.dtype.scalar, tl.float32, None)
    return TensorHandle(bits.view(np.float32), tl.float32)


def narrow(data: np.ndarray, kind: Any) -> TensorHandle:
    """Floats rounded to bf16 or fp8."""
    bits = convert_float(np.asarray(data, np.float32), tl.float32, kind, None)
    return TensorHandle(bits.view(interpreter._get_np_dtype(kind)), kind)


def round_to_tf32(data: np.ndarray) -> np.ndarray:
    """float32 with the low 13 bits of the mantissa rounded away; Inf and NaN stay."""
    bits = np.ascontiguousarray(data, np.float32).view(np.uint32)
    odd = (bits >> 13) & 1
    rounded = ((bits.astype(np.uint64) + 0xFFF + odd) & 0xFFFFE000).astype(np.uint32)
    finite = (bits & 0x7F800000) != 0x7F800000
    return np.where(finite, rounded, bits).view(np.float32)

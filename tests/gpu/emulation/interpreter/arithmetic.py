"""Repairs of the interpreter's arithmetic: upstream computes on the bits of bf16 and fp8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, ReduceOps, ScanOps, TensorHandle

from .formats import convert_float, is_narrow, narrow, round_to_tf32, widen

_binary = InterpreterBuilder.binary_op
_unary = InterpreterBuilder.unary_op
_cast = InterpreterBuilder.cast_impl
_clamp = InterpreterBuilder.create_clampf
_reduce = ReduceOps.apply_impl
_scan = ScanOps.apply_impl


def binary_op(
    self: InterpreterBuilder, left: TensorHandle, right: TensorHandle, op: Callable[..., np.ndarray]
) -> TensorHandle:
    if not is_narrow(left):
        return _binary(self, left, right, op)
    result = op(widen(left).data, widen(right).data)
    if result.dtype == np.bool_:
        return TensorHandle(result, tl.int1)
    return narrow(result, left.dtype.scalar)


def unary_op(
    self: InterpreterBuilder, value: TensorHandle, op: Callable[..., np.ndarray]
) -> TensorHandle:
    if not is_narrow(value):
        return _unary(self, value, op)
    return narrow(op(widen(value).data), value.dtype.scalar)


def fma(
    self: InterpreterBuilder, x: TensorHandle, y: TensorHandle, z: TensorHandle
) -> TensorHandle:
    """Rounds once, as the instruction does."""
    total = widen(x).data.astype(np.float64) * widen(y).data + widen(z).data
    if is_narrow(z):
        return narrow(total, z.dtype.scalar)
    return TensorHandle(total.astype(z.data.dtype), z.dtype.scalar)


def clamp(
    self: InterpreterBuilder, value: TensorHandle, low: TensorHandle, high: TensorHandle, nans: Any
) -> TensorHandle:
    if not is_narrow(value):
        return _clamp(self, value, low, high, nans)
    clamped = _clamp(self, widen(value), widen(low), widen(high), nans)
    return narrow(clamped.data, value.dtype.scalar)


def cast(self: InterpreterBuilder, value: TensorHandle, to: Any) -> TensorHandle:
    target = to.scalar
    if target in (tl.bfloat16, tl.float8e5, tl.float8e4nv):
        return narrow(widen(value).data, target)
    if is_narrow(value) and target.is_floating():
        data = widen(value).data.astype(interpreter._get_np_dtype(target))
        return TensorHandle(data, target)
    return _cast(self, widen(value), to)


def reduce(self: ReduceOps, values: Any) -> Any:
    _refuse_narrow(values, "reductions")
    return _reduce(self, values)


def scan(self: ScanOps, values: Any) -> Any:
    _refuse_narrow(values, "scans")
    return _scan(self, values)


def _refuse_narrow(values: Any, what: str) -> None:
    if any(is_narrow(value.handle) for value in values):
        raise NotImplementedError(
            f"{what} of bf16 or fp8 in the interpreter: cast to float32 first"
        )


def dot(a: TensorHandle, b: TensorHandle, acc: TensorHandle, precision: Any) -> TensorHandle:
    """a (M, K) times b (K, N) plus acc, operands rounded to tf32 where the dot asks for it."""
    left, right = widen(a).data, widen(b).data
    if left.dtype.kind in "iu":
        product = np.matmul(left, right, dtype=np.int32)
        return TensorHandle((product + acc.data).astype(acc.data.dtype), acc.dtype.scalar)
    if left.dtype == np.float16:  # NumPy's own product of halves is many times slower.
        left, right = left.astype(np.float32), right.astype(np.float32)
    if a.dtype.scalar == tl.float32 and str(precision).endswith("TF32"):
        left, right = round_to_tf32(left), round_to_tf32(right)
    total = np.matmul(left, right) + acc.data
    return TensorHandle(total.astype(acc.data.dtype), acc.dtype.scalar)


#: (owner, attribute, replacement) of every repair.
REPAIRS: list[tuple[Any, str, Any]] = [
    (interpreter, "_convert_float", convert_float),
    (InterpreterBuilder, "binary_op", binary_op),
    (InterpreterBuilder, "unary_op", unary_op),
    (InterpreterBuilder, "create_fma", fma),
    (InterpreterBuilder, "create_clampf", clamp),
    (InterpreterBuilder, "cast_impl", cast),
    (ReduceOps, "apply_impl", reduce),
    (ScanOps, "apply_impl", scan),
]

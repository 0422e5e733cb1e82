"""What counts as right: the largest error, as a part of the largest value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

# Two roundings of the format; TF32 cuts its operands to 10 bits.
ALLOWED = {"float16": 2**-9, "bfloat16": 2**-6, "tf32": 2**-8, "float32": 2**-18}


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Largest |found - exact| over the largest |exact|; infinite where found is not finite."""
    error = (found.double() - exact.double()).abs().nan_to_num(nan=torch.inf).max()
    return float(error / exact.double().abs().max().clamp_min(1e-30))


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Convolutions in double precision as products of matrices: cuDNN would try all it has."""
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


def check(family: str, case: str, found: Tensor, exact: Tensor, allowed: float) -> dict[str, Any]:
    """A row of kind `check`."""
    same = found.shape == exact.shape
    error = relative_error(found, exact) if same and found.numel() else float(not same)
    return {
        "kind": "check",
        "family": family,
        "case": case,
        "error": error,
        "allowed": allowed,
        "right": error <= allowed,
    }

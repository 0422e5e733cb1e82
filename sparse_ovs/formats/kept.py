"""What the GPU formats store: the kept weights of a layer, tap-major and in the kernel's type."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.formats.invariants import mask_or_nonzeros
from sparse_ovs.patterns import flatten_tap_major

STORED_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def kept_weights(
    weight: Tensor, mask: Tensor | None, dtype: torch.dtype | None
) -> tuple[Tensor, Tensor]:
    """Values in `dtype`, 0 where pruned, and bool: which are kept; both tap-major (O, K).

    Args:
        weight: (O, I, *kernel) or (O, I), float32, float16 or bfloat16.
        mask: bool of the same shape: weights to store, zero or not; None stores those that are not
            zero.
        dtype: one of the same three; None takes the weight's.

    Raises:
        TypeError: weight, mask or dtype of another type.
        ValueError: shapes that differ, or a kept weight too large for dtype.
    """
    dtype = weight.dtype if dtype is None else dtype
    for what, found in (("a weight", weight.dtype), ("values", dtype)):
        if found not in STORED_DTYPES:
            raise TypeError(f"expected {what} of float32, float16 or bfloat16, got {found}")
    mask = mask_or_nonzeros(weight, mask)
    kept = flatten_tap_major(mask)
    exact = flatten_tap_major(weight.detach())
    # where, not a product: NaN times a pruned weight's 0 would stay NaN.
    values = torch.where(kept, exact, 0).to(dtype)
    too_large = torch.isinf(values) & torch.isfinite(exact)
    if bool(too_large.any()):
        largest = float(exact[too_large].abs().max())
        raise ValueError(f"expected weights that fit in {dtype}, got {largest:g}")
    return values, kept

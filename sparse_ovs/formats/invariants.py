"""What every format checks of its tensors, and of the weights and masks it is made from."""

from __future__ import annotations

import torch
from torch import Tensor


def check_weight_shape(shape: tuple[int, ...]) -> None:
    """Raises ValueError unless it is (O, I, ...), all of at least 1."""
    if len(shape) < 2 or any(not isinstance(s, int) or s < 1 for s in shape):
        raise ValueError(f"expected a weight shape (O, I, ...), got {shape!r}")


def check_part(
    name: str,
    tensor: Tensor,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    device: torch.device | None = None,
) -> None:
    """Raises TypeError or ValueError unless a format's tensor is contiguous, of this dtype and
    shape, and on the device where one is given."""
    if tensor.dtype != dtype:
        raise TypeError(f"expected {name} of dtype {dtype}, got {tensor.dtype}")
    if tuple(tensor.shape) != shape:
        raise ValueError(f"expected {name} of shape {shape}, got {tuple(tensor.shape)}")
    if not tensor.is_contiguous():
        raise ValueError(f"expected {name} to be contiguous, got strides {tensor.stride()}")
    if device is not None and tensor.device != device:
        raise ValueError(f"expected {name} on {device}, got {tensor.device}")


def mask_or_nonzeros(weight: Tensor, mask: Tensor | None) -> Tensor:
    """bool: the mask, or where the weight is not zero (-0.0 is) where there is none.

    Raises:
        TypeError: a mask that is not bool.
        ValueError: of another shape than the weight.
    """
    if mask is None:
        return weight != 0
    if mask.dtype != torch.bool:
        raise TypeError(f"expected a bool mask, got {mask.dtype}")
    if mask.shape != weight.shape:
        raise ValueError(f"expected a mask of shape {tuple(weight.shape)}, got {tuple(mask.shape)}")
    return mask

"""What the launchers accept: checked before anything runs, in one sentence each."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.kernels._triton import triton
from sparse_ovs.kernels.epilogue import ACTIVATIONS

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
PRECISIONS = ("tf32", "ieee")
_LIMIT = 1 << 31  # rows and pixels are counted in 32 bits, addresses in 64


def check_device(name: str, x: Tensor) -> None:
    """Raises a ValueError or RuntimeError where triton cannot run on the tensor's device."""
    if triton.knobs.runtime.interpret:
        return
    try:
        device = triton.runtime.driver.active.get_active_torch_device()
    except RuntimeError as error:
        raise RuntimeError(f"expected a GPU that triton can use, got none: {error}") from error
    if x.device.type != device.type:
        raise ValueError(f"expected {name} on a {device.type} device, got {x.device}")


def check_activations(name: str, x: Tensor, like: Tensor | None = None) -> None:
    """dtype, and the dtype and device of `like`."""
    if x.dtype not in DTYPES:
        raise TypeError(f"expected {name} of float16, bfloat16 or float32, got {x.dtype}")
    if like is not None and x.dtype != like.dtype:
        raise TypeError(f"expected {name} of dtype {like.dtype}, got {x.dtype}")
    if like is not None and x.device != like.device:
        raise ValueError(f"expected {name} on {like.device}, got {x.device}")


def check_matrix(
    name: str, x: Tensor, columns: int, rows: int | None = None, like: Tensor | None = None
) -> None:
    """(rows, columns) whose rows are contiguous, any distance apart; see `check_activations`."""
    check_activations(name, x, like)
    if x.dim() != 2 or x.shape[1] != columns or (rows is not None and x.shape[0] != rows):
        wanted = f"({'rows' if rows is None else rows}, {columns})"
        raise ValueError(f"expected {name} of shape {wanted}, got {tuple(x.shape)}")
    if x.numel() and x.stride(1) != 1 and columns > 1:
        raise ValueError(f"expected {name} with contiguous rows, got strides {x.stride()}")
    if x.shape[0] >= _LIMIT:
        raise ValueError(f"expected {name} of fewer than 2^31 rows, got {x.shape[0]}")


def check_nhwc(
    name: str, x: Tensor, shape: tuple[int, ...] = (-1, -1, -1, -1), like: Tensor | None = None
) -> None:
    """(N, C, H, W) of this shape, channels_last in memory; -1 stands for any size; see
    `check_activations`."""
    check_activations(name, x, like)
    if x.dim() != 4 or any(w not in (-1, s) for w, s in zip(shape, x.shape, strict=True)):
        wanted = ", ".join(n if s == -1 else str(s) for n, s in zip("NCHW", shape, strict=True))
        raise ValueError(f"expected {name} of shape ({wanted}), got {tuple(x.shape)}")
    if not x.permute(0, 2, 3, 1).is_contiguous():
        raise ValueError(f"expected {name} in channels_last layout, got strides {x.stride()}")
    if x.shape[0] * x.shape[2] * x.shape[3] >= _LIMIT:
        raise ValueError(f"expected {name} of fewer than 2^31 pixels, got {tuple(x.shape)}")


def check_bsr(
    values: Tensor, row_ptr: Tensor, size: int, dim: int, like: Tensor, /, **vectors: Tensor
) -> tuple[int, int]:
    """Contiguous values (blocks, R, C) of the dtype and device of the activations, row_ptr over the
    `size` output channels (dim 0) or input channels (dim 1), vectors of a number a block.

    Returns (R, C).
    """
    check_activations("values", values, like)
    if values.dim() != 3 or not values.is_contiguous():
        raise ValueError(
            f"expected contiguous values (blocks, R, C), got {tuple(values.shape)} "
            f"with strides {values.stride()}"
        )
    count, rows, columns = values.shape
    side = (rows, columns)[dim]
    lengths = {name: (vector, count) for name, vector in vectors.items()}
    check_vectors(like, row_ptr=(row_ptr, -(-size // side) + 1), **lengths)
    return rows, columns


def check_vectors(like: Tensor, **vectors: tuple[Tensor, int]) -> None:
    """int32 vectors of the given lengths on the device of `like`.

    What the numbers in them mean is not looked at: that would wait for the GPU. `BsrWeight` has.
    """
    for name, (tensor, length) in vectors.items():
        if tensor.dtype != torch.int32:
            raise TypeError(f"expected {name} of dtype torch.int32, got {tensor.dtype}")
        if tuple(tensor.shape) != (length,) or not tensor.is_contiguous():
            raise ValueError(
                f"expected contiguous {name} of shape ({length},), got {tuple(tensor.shape)}"
            )
        if tensor.device != like.device:
            raise ValueError(f"expected {name} on {like.device}, got {tensor.device}")


def check_stored(like: Tensor, channels: Tensor, **vectors: Tensor) -> int:
    """int32 vectors of a number a block on the device of `like`; returns the number of blocks."""
    count = channels.numel()
    lengths = {name: (vector, count) for name, vector in vectors.items()}
    check_vectors(like, channels=(channels, count), **lengths)
    return count


def check_epilogue(
    bias: Tensor | None, out_channels: int, activation: str | None, like: Tensor
) -> None:
    """bias (O,) of the activations' dtype or float32, and a known activation."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"expected activation None, 'relu' or 'gelu', got {activation!r}")
    if bias is None:
        return
    if bias.dtype not in (like.dtype, torch.float32):
        raise TypeError(f"expected bias of dtype {like.dtype} or float32, got {bias.dtype}")
    if tuple(bias.shape) != (out_channels,) or not bias.is_contiguous():
        raise ValueError(f"expected bias of shape ({out_channels},), got {tuple(bias.shape)}")
    if bias.device != like.device:
        raise ValueError(f"expected bias on {like.device}, got {bias.device}")

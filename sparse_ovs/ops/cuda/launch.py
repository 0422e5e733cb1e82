"""The launch of a kernel as data, so that a GPU and an emulator run the very same."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_ovs import _cuda
from sparse_ovs.formats import CsrWeight, TwoFourWeight

Argument = Tensor | None | ctypes.c_int32 | ctypes.c_int64

DTYPE_NUMBERS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}  # as in number.cuh


@dataclass(frozen=True)
class Launch:
    """A kernel that is ready to run.

    Attributes:
        kernel: name of the file in `csrc/cuda` and of the function in it.
        defines: macros of the variant.
        grid: blocks in x, y, z; a 0 among them means that there is nothing to do.
        threads: of a block.
        shared_bytes: dynamic shared memory of a block.
        arguments: tensors as their addresses, None as null, and integers of the right width. They
            keep their tensors alive.
    """

    kernel: str
    defines: dict[str, int]
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int
    arguments: tuple[Argument, ...]


def run(launch: Launch, y: Tensor) -> Tensor:
    """Fills y, the launch's output, on the current stream of its GPU; returns it.

    Raises:
        CudaDriverError, CudaCompilerError, SourceError: see `_cuda.launch`.
    """
    if 0 not in launch.grid:
        execute(launch, y.device)
    return y


def execute(launch: Launch, device: torch.device) -> None:
    """Puts a launch on the current stream of a GPU; see `run`."""
    with torch.cuda.device(device):
        _cuda.launch(
            launch.kernel,
            tuple(sorted(launch.defines.items())),
            torch.cuda.current_device(),
            torch.cuda.current_stream().cuda_stream,
            launch.grid,
            launch.threads,
            launch.shared_bytes,
            [
                argument
                if isinstance(argument, (ctypes.c_int32, ctypes.c_int64))
                else ctypes.c_void_p(None if argument is None else argument.data_ptr())
                for argument in launch.arguments
            ],
        )


def int32s(*values: int) -> tuple[ctypes.c_int32, ...]:
    """Integers as the kernels take them.

    Raises:
        ValueError: one that needs more than 32 bits.
    """
    for value in values:
        if not -(1 << 31) <= value < 1 << 31:
            raise ValueError(f"expected sizes below 2^31, got {value}")
    return tuple(ctypes.c_int32(value) for value in values)


def ceil_div(count: int, size: int) -> int:
    """How many parts of this size hold them all."""
    return -(-count // size)


def check_input(x: Tensor, weight: CsrWeight | TwoFourWeight, dims: int, channel_dim: int) -> None:
    """Raises TypeError or ValueError unless x is of the weight's dtype, on its device, of `dims`
    dimensions, and has its channels in one of them."""
    values = weight.values
    if x.dtype != values.dtype:
        raise TypeError(f"expected x of {values.dtype}, as the weight is, got {x.dtype}")
    if x.device != values.device:
        raise ValueError(f"expected x on {values.device}, as the weight is, got {x.device}")
    if x.dim() != dims or len(weight.shape) not in (2, 4):
        raise ValueError(
            f"expected x of {dims} dimensions and a weight (O, I) or (O, I, kh, kw), "
            f"got {tuple(x.shape)} and {weight.shape}"
        )
    if x.shape[channel_dim] != weight.shape[1]:
        raise ValueError(
            f"expected {weight.shape[1]} channels in dimension {channel_dim} of x, "
            f"got {tuple(x.shape)}"
        )


def check_additions(
    bias: Tensor | None, added: Tensor | None, like: Tensor, channel_dim: int
) -> None:
    """Raises TypeError or ValueError unless bias is float32 (O,) and added is of the output's shape
    and dtype, both on its device."""
    channels = like.shape[channel_dim]
    for name, tensor, dtype, shape in (
        ("bias", bias, torch.float32, (channels,)),
        ("added", added, like.dtype, tuple(like.shape)),
    ):
        if tensor is None:
            continue
        if tensor.dtype != dtype:
            raise TypeError(f"expected {name} of {dtype}, got {tensor.dtype}")
        if tuple(tensor.shape) != shape:
            raise ValueError(f"expected {name} of shape {shape}, got {tuple(tensor.shape)}")
        if tensor.device != like.device:
            raise ValueError(f"expected {name} on {like.device}, got {tensor.device}")


def aligned(count: int, vector: int, *tensors: Tensor | None) -> bool:
    """Whether rows of so many numbers are whole vectors, and all tensors begin at 16 bytes."""
    starts = (tensor.data_ptr() for tensor in tensors if tensor is not None)
    return count % vector == 0 and all(start % 16 == 0 for start in starts)

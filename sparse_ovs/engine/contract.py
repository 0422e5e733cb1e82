"""What every encoder of the engine takes: the checks of its inputs, threads and rounds."""

from __future__ import annotations

import torch
from torch import Tensor


def check_input(x: Tensor, channels: int) -> None:
    """Raises TypeError or ValueError where x is not (N, channels, H, W) float32 on the CPU."""
    if x.dtype != torch.float32 or x.device.type != "cpu":
        raise TypeError(f"expected a float32 input on the CPU, got {x.dtype} on {x.device}")
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(f"expected an input (N, {channels}, H, W), got {tuple(x.shape)}")


def check_threads(threads: int | None) -> None:
    """Raises ValueError for a count below 1."""
    if threads is not None and threads < 1:
        raise ValueError(f"expected at least 1 thread, got {threads}")


def check_rounds(rounds: int) -> None:
    """Raises ValueError for a number below 1."""
    if rounds < 1:
        raise ValueError(f"expected at least 1 round, got {rounds}")

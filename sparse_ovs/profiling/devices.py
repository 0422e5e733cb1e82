"""Devices that things are timed on: which there are, what they are called, and their clock."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch

from sparse_ovs import _native


def find_device(name: str) -> torch.device:
    """A device by name: "cpu", "cuda" or "cuda:1".

    Raises:
        ValueError: another name.
        RuntimeError: a GPU that is not there.
    """
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise ValueError(f"expected device cpu, cuda or cuda:N, got {name!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        why = "no usable GPU" if built else "a build of torch without CUDA"
        raise RuntimeError(f"expected a CUDA GPU for device {name!r}, got {why}")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise RuntimeError(f"expected one of {torch.cuda.device_count()} GPUs, got {name!r}")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """What the device is, in the words of its maker."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _native.cpu_name()


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds, read when the device has done what it was given."""
    if device.type != "cuda":
        return perf_counter

    def clock() -> float:
        torch.cuda.synchronize(device)
        return perf_counter()

    return clock

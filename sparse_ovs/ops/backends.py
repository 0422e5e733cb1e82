"""Which family of kernels serves which type of device."""

from __future__ import annotations

import torch

_FAMILIES = {"cpu": "native", "cuda": "cuda"}


def family_of(device: torch.device) -> str | None:
    """ "native" (the C++ library), "cuda" (Triton and CUDA C++), or None."""
    return _FAMILIES.get(device.type)

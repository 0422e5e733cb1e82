"""What a layer on a GPU is asked for, beside its weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparse_ovs.conv_size import Geometry

GPU_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


class Arithmetic(NamedTuple):
    """What numbers are multiplied as.

    Attributes:
        dtype: of activations and stored weights: float16, bfloat16 or float32. Sums are float32.
        tf32: float32 operands may be cut to TF32, for tensor cores.
    """

    dtype: torch.dtype
    tf32: bool = False

    @property
    def precision(self) -> str:
        """Of float32 products, as Triton calls it."""
        return "tf32" if self.tf32 else "ieee"


class ConvRequest(NamedTuple):
    """[relu](conv2d(x, weight) + bias + residual).

    Attributes:
        x: (N, I, H, W), in any layout.
        residual: of the output's shape and x's dtype, or None.
        geometry, arithmetic: see there.
        relu: last.
    """

    x: Tensor
    residual: Tensor | None
    geometry: Geometry
    relu: bool
    arithmetic: Arithmetic


class LinearRequest(NamedTuple):
    """[relu](x @ weight.T + bias) for x (M, I), contiguous."""

    x: Tensor
    relu: bool
    arithmetic: Arithmetic


def conv_arithmetic(dtype: torch.dtype) -> Arithmetic:
    """As torch's own switch for convolutions says."""
    return Arithmetic(dtype, torch.backends.cudnn.allow_tf32)


def linear_arithmetic(dtype: torch.dtype) -> Arithmetic:
    """As torch's own switch for products of matrices says."""
    return Arithmetic(dtype, torch.backends.cuda.matmul.allow_tf32)

"""Compiles an encoder in a precision, with scales of its own where that needs them."""

from __future__ import annotations

from torch import Tensor, nn

from sparse_ovs.compilation import compile
from sparse_ovs.engine import CompiledEncoder
from sparse_ovs.quantization.batches import Batches
from sparse_ovs.quantization.observe import quantize


def compile_in(
    precision: str, model: nn.Module, example: Tensor, threads: int | None, images: Batches
) -> CompiledEncoder:
    """compile, with a quantization by these images for int8.

    Args:
        precision: see compile.
        model, example, threads: see compile.
        images: that int8's scales are taken from.

    Raises:
        As compile and quantize.
    """
    quantization = quantize(model, images) if precision == "int8" else None
    return compile(model, example, threads, precision=precision, quantization=quantization)

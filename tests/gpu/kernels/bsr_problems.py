"""Block-sparse problems: what the kernels give for them, beside double precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.formats import BsrWeight, pack_bsr
from sparse_ovs.kernels import avg_pool2d, bsr_conv2d, bsr_linear
from sparse_ovs.kernels.tiles import BLOCKS
from support.oracles import random_mask

Pair = tuple[int, int]
# Of the largest value: two roundings of a half; tf32 cuts its operands to 10 bits.
_TOLERANCES = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 2**-9}
_IEEE_TOLERANCE = 2**-20


@dataclass(frozen=True)
class Variant:
    """Block shape, dtype and precision: what a kernel is compiled for."""

    block: Pair
    dtype: torch.dtype
    precision: str = "tf32"

    def __str__(self) -> str:
        return f"{self.block[0]}x{self.block[1]}-{self.kind}"

    @property
    def kind(self) -> str:
        """float16, bfloat16, tf32 or ieee."""
        single = self.dtype == torch.float32
        return self.precision if single else str(self.dtype).removeprefix("torch.")

    def of(self, direction: str) -> str:
        """As the record of evidence and the budgets name it: `forward float16 64x64`."""
        return f"{direction} {self.kind} {self.block[0]}x{self.block[1]}"

    @property
    def tolerance(self) -> float:
        """Largest error of normally distributed numbers, as a fraction of the largest value."""
        if self.dtype == torch.float32 and self.precision == "ieee":
            return _IEEE_TOLERANCE
        return _TOLERANCES[self.dtype]


@dataclass(frozen=True)
class Result:
    """What a kernel gave, what double precision gives, and the FLOPs (1 MAC = 2) that it takes."""

    name: str
    found: Tensor
    fp64: Tensor
    useful_flops: float = 0.0


Numbers = Callable[..., Tensor]

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
VARIANTS = [Variant(block, dtype) for block in BLOCKS for dtype in DTYPES] + [
    Variant(block, torch.float32, "ieee") for block in BLOCKS if block != (64, 64)
]
DIRECTIONS = ("forward", "input_gradient", "weight_gradient")


def integers(*shape: int) -> Tensor:
    """Small whole numbers: every product and sum of them is exact in every dtype, so a kernel's
    result must equal the oracle's to the bit (rounded once, when it is stored)."""
    return torch.randint(-3, 4, shape).float()


def normals(*shape: int) -> Tensor:
    """Normally distributed numbers: what rounding does to them must stay within tolerance."""
    return torch.randn(*shape)


@dataclass(frozen=True)
class LinearProblem:
    """x (rows, I) and a weight (O, I); `gap` columns lie between the rows of x."""

    rows: int
    out_features: int
    in_features: int
    density: float = 0.5
    activation: str | None = None
    with_bias: bool = True
    with_residual: bool = True
    gap: int = 0

    def results(self, variant: Variant, numbers: Numbers) -> Iterator[Result]:
        """Forward and both gradients."""
        dtype = variant.dtype
        bsr = random_bsr((self.out_features, self.in_features), variant, self.density, numbers)
        x = numbers(self.rows, self.in_features + self.gap).to(dtype)[:, : self.in_features]
        grad = numbers(self.rows, self.out_features).to(dtype)
        bias = numbers(self.out_features) if self.with_bias else None
        residual = numbers(self.rows, self.out_features).to(dtype) if self.with_residual else None
        y = bsr_linear.forward(
            x,
            bsr.values,
            bsr.row_ptr,
            bsr.channels,
            self.out_features,
            bias,
            residual,
            self.activation,
            variant.precision,
        )
        weight = bsr.to_dense().double()
        expected = x.double() @ weight.t()
        flops = 2.0 * self.rows * int(bsr.mask().sum())
        yield Result("forward", y, finished(expected, bias, residual, self.activation), flops)

        t = bsr.transpose
        grad_x = bsr_linear.input_gradient(
            grad, bsr.values, t.row_ptr, t.blocks, t.rows, self.in_features, variant.precision
        )
        yield Result("input gradient", grad_x, grad.double() @ weight, flops)

        grad_values = bsr_linear.weight_gradient(
            grad, x, bsr.block_rows, bsr.channels, bsr.block, variant.precision
        )
        yield from stored_gradients(bsr, grad_values, grad.double().t() @ x.double(), flops)


@dataclass(frozen=True)
class ConvProblem:
    """x (N, I, H, W) and a weight (O, I, kh, kw)."""

    batch: int
    out_channels: int
    in_channels: int
    size: Pair
    kernel_size: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Pair = (1, 1)
    dilation: Pair = (1, 1)
    density: float = 0.4
    activation: str | None = None
    with_bias: bool = True
    with_residual: bool = True

    def results(self, variant: Variant, numbers: Numbers) -> Iterator[Result]:
        """Forward and both gradients."""
        dtype = variant.dtype
        shape = (self.out_channels, self.in_channels, *self.kernel_size)
        bsr = random_bsr(shape, variant, self.density, numbers)
        geometry = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        x = nhwc(numbers(self.batch, self.in_channels, *self.size).to(dtype))
        x64 = x.double().requires_grad_()
        weight64 = bsr.to_dense().double().requires_grad_()
        expected = F.conv2d(x64, weight64, None, **geometry)
        grad = nhwc(numbers(*expected.shape).to(dtype))
        expected.backward(grad.double())
        bias = numbers(self.out_channels) if self.with_bias else None
        residual = nhwc(numbers(*expected.shape).to(dtype)) if self.with_residual else None

        y = bsr_conv2d.forward(
            x,
            bsr.values,
            bsr.row_ptr,
            bsr.taps,
            bsr.channels,
            self.out_channels,
            self.kernel_size,
            bias,
            residual,
            self.activation,
            precision=variant.precision,
            **geometry,
        )
        assert y.is_contiguous(memory_format=torch.channels_last)
        expected = finished(expected.detach(), bias, residual, self.activation)
        pixels = expected.numel() // self.out_channels
        flops = 2.0 * pixels * int(bsr.mask().sum())
        yield Result("forward", y, expected, flops)

        t = bsr.transpose
        grad_x = bsr_conv2d.input_gradient(
            grad,
            bsr.values,
            t.row_ptr,
            t.blocks,
            t.rows,
            t.taps,
            tuple(x.shape),
            self.kernel_size,
            precision=variant.precision,
            **geometry,
        )
        assert x64.grad is not None
        yield Result("input gradient", grad_x, x64.grad, flops)

        grad_values = bsr_conv2d.weight_gradient(
            grad,
            x,
            bsr.block_rows,
            bsr.taps,
            bsr.channels,
            bsr.block,
            self.kernel_size,
            precision=variant.precision,
            **geometry,
        )
        assert weight64.grad is not None
        yield from stored_gradients(bsr, grad_values, weight64.grad, flops)


@dataclass(frozen=True)
class PoolProblem:
    """x (N, C, H, W) in windows of k x k."""

    batch: int
    channels: int
    size: Pair
    kernel_size: int = 2

    def results(self, dtype: torch.dtype, numbers: Numbers) -> Iterator[Result]:
        """Forward and gradient."""
        x = nhwc(numbers(self.batch, self.channels, *self.size).to(dtype))
        x64 = x.double().requires_grad_()
        expected = F.avg_pool2d(x64, self.kernel_size)
        grad = nhwc(numbers(*expected.shape).to(dtype))
        expected.backward(grad.double())
        flops = float(x.numel())
        found = avg_pool2d.forward(x, self.kernel_size)
        yield Result("forward", found, expected.detach(), flops)
        assert x64.grad is not None
        found = avg_pool2d.input_gradient(grad, self.kernel_size, self.size)
        yield Result("input gradient", found, x64.grad, flops)


def assert_exact(result: Result) -> None:
    """The oracle's value, rounded once to the dtype."""
    assert result.found.shape == result.fp64.shape, result.name
    expected = result.fp64.to(result.found.dtype)
    wrong = (result.found != expected) | result.found.isnan()
    assert not wrong.any(), (
        f"{result.name}: {int(wrong.sum())} of {wrong.numel()} values differ, "
        f"first at {wrong.nonzero()[0].tolist()}"
    )


def assert_close(result: Result, tolerance: float) -> None:
    """Within a fraction of the largest value."""
    assert result.found.shape == result.fp64.shape, result.name
    if not result.found.numel():
        return
    error = (result.found.double() - result.fp64).abs().nan_to_num(nan=torch.inf)
    largest = float(result.fp64.abs().max())
    assert float(error.max()) <= tolerance * largest, (
        f"{result.name}: expected errors of at most {tolerance:.2g} of {largest:.3g}, "
        f"got {float(error.max()):.3g}"
    )


def random_bsr(
    shape: tuple[int, ...], variant: Variant, density: float, numbers: Numbers
) -> BsrWeight:
    """Random blocks of a weight: the last is kept, except at density 0; below 1 the first block row
    has none."""
    mask = random_mask(shape, density, f"block{variant.block[0]}x{variant.block[1]}")
    if density > 0:
        mask[-1:, -1:] = True
    if density < 1 and shape[0] > variant.block[0]:
        mask[: variant.block[0]] = False
    return pack_bsr(numbers(*shape).to(variant.dtype), mask, variant.block)


def finished(
    sums: Tensor, bias: Tensor | None, residual: Tensor | None, activation: str | None
) -> Tensor:
    """activation(sums + bias + residual) in double precision."""
    if bias is not None:
        sums = sums + bias.double().reshape(-1, *[1] * (sums.dim() - 2))
    if residual is not None:
        sums = sums + residual.double()
    if activation == "relu":
        return sums.relu()
    return F.gelu(sums) if activation == "gelu" else sums


def stored_gradients(
    bsr: BsrWeight, values: Tensor, dense: Tensor, flops: float
) -> Iterator[Result]:
    """Gradient of the stored slots, as a dense weight; the slots past the weight are zero."""
    yield Result("weight gradient", bsr.scatter(values), dense * bsr.mask(), flops)
    past = values[~bsr.gather(torch.ones_like(dense, dtype=torch.bool))]
    yield Result("weight gradient past the weight", past, torch.zeros_like(past).double())


def nhwc(x: Tensor) -> Tensor:
    """The same (N, C, H, W), channels_last in memory."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)

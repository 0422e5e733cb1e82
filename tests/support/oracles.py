"""Plain torch in double precision, what counts as exact enough against it, and random weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# A few roundings of the largest value: what is left where fp32 torch happens to hit fp64 exactly.
_ULPS = 4


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm: Sequence[Tensor] = (),
    eps: float = 0.0,
    residual: Tensor | None = None,
    relu: bool = False,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """[relu](norm(conv2d(x, weight) + bias) + residual) as torch computes it in `dtype`.

    norm is [] or [gamma, beta, mean, var].
    """

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype)

    # Padded first: oneDNN's kernels crash where a 1-wide kernel sees padding only (torch 2.14).
    padded = F.pad(cast(x), (padding[1], padding[1], padding[0], padding[0]))
    # Their gradients overrun memory where a 1-wide kernel jumps over pixels: such pixels go first.
    steps = [
        size if kernel == 1 else 1 for size, kernel in zip(stride, weight.shape[2:], strict=True)
    ]
    padded = padded[:, :, :: steps[0], :: steps[1]]
    stride = [size // step for size, step in zip(stride, steps, strict=True)]
    y = F.conv2d(
        padded,
        cast(weight),
        None if bias is None else cast(bias),
        stride=tuple(stride),
        dilation=tuple(dilation),
        groups=groups,
    )
    if norm:
        gamma, beta, mean, var = map(cast, norm)
        # Written out: torch's own has no gradient of the statistics.
        gamma, beta, mean, var = (t[:, None, None] for t in (gamma, beta, mean, var))
        y = (y - mean) / torch.sqrt(var + eps) * gamma + beta
    if residual is not None:
        y = y + cast(residual)
    return y.relu() if relu else y


def conv2d_fp64(x: Tensor, weight: Tensor, bias: Tensor | None = None, **how: object) -> Tensor:
    """`conv2d` in double precision; the same arguments."""
    return conv2d(x, weight, bias, dtype=torch.float64, **how)  # type: ignore[arg-type]


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    relu: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """[relu](x @ weight.T + bias) as torch computes it in `dtype`."""
    y = F.linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))
    return y.relu() if relu else y


def linear_fp64(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False
) -> Tensor:
    """`linear` in double precision."""
    return linear(x, weight, bias, relu=relu, dtype=torch.float64)


def max_error(found: Tensor, fp64: Tensor) -> float:
    """max |found - fp64|; infinite where found is NaN or Inf."""
    if fp64.numel() == 0:
        return 0.0
    return float((found.double() - fp64).abs().nan_to_num(nan=torch.inf).max())


def assert_as_exact_as_torch(
    ours: Tensor, fp64: Tensor, fp32: Tensor, *, scale: float = 1.0
) -> None:
    """err(ours) <= 2 * err(fp32 torch) + eps, errors against fp64 (the rule of flash-attention's
    tests); eps is a few fp32 roundings of the largest value or of `scale`.

    scale is the size of the terms that were summed, 1 for normal ones: where they cancel, their
    roundings remain.
    """
    assert ours.dtype == torch.float32
    assert ours.shape == fp64.shape
    largest = float(fp64.abs().max()) if fp64.numel() else 0.0
    eps = _ULPS * torch.finfo(torch.float32).eps * max(largest, scale)
    allowed = 2 * max_error(fp32, fp64) + eps
    error = max_error(ours, fp64)
    assert error <= allowed, f"expected an error of at most {allowed:.3g}, got {error:.3g}"


def random_mask(
    shape: Sequence[int], density: float, pattern: str = "unstructured", seed: int = 0
) -> Tensor:
    """A random bool mask (O, I, *kernel) that follows a pattern: "unstructured", "blockRxC", "n:m"
    (density is then n / m, whatever is given) or "channel". Density may be 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    out_channels, in_channels, *kernel = shape
    columns = in_channels
    for size in kernel:
        columns *= size

    def chosen(rows: int, cols: int) -> Tensor:
        return torch.rand(rows, cols, generator=generator) < density

    if pattern == "unstructured":
        matrix = chosen(out_channels, columns)
    elif pattern == "channel":
        matrix = chosen(out_channels, 1).expand(out_channels, columns)
    elif pattern.startswith("block"):
        rows, cols = map(int, pattern.removeprefix("block").split("x"))
        blocks = chosen(-(-out_channels // rows), -(-columns // cols))
        matrix = blocks.repeat_interleave(rows, 0).repeat_interleave(cols, 1)
        matrix = matrix[:out_channels, :columns]
    else:
        n, m = map(int, pattern.split(":"))
        groups = -(-columns // m)
        order = torch.rand(out_channels, groups, m, generator=generator).argsort(2).argsort(2)
        matrix = (order < n).reshape(out_channels, groups * m)[:, :columns]
    # Tap-major columns (*kernel, I) back to (O, I, *kernel).
    return matrix.reshape(out_channels, *kernel, in_channels).movedim(-1, 1).contiguous()


def random_sparse_weight(
    shape: Sequence[int], density: float, pattern: str = "unstructured", seed: int = 0
) -> Tensor:
    """float32 (O, I, *kernel): normally distributed where `random_mask` keeps, else 0."""
    generator = torch.Generator().manual_seed(seed + 1)
    weight = torch.randn(tuple(shape), generator=generator)
    return torch.where(random_mask(shape, density, pattern, seed), weight, 0.0)


def random_norm(channels: int, seed: int = 0) -> list[Tensor]:
    """[gamma, beta, mean, var] of a BatchNorm that has seen data; variances are positive."""
    generator = torch.Generator().manual_seed(seed + 2)
    gamma, beta, mean = torch.randn(3, channels, generator=generator)
    return [
        gamma.clone(),
        beta.clone(),
        mean.clone(),
        torch.rand(channels, generator=generator) + 0.5,
    ]

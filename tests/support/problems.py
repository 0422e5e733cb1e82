"""A sparse convolution with everything that can vary, run by our op and by torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sparse_ovs import ops
from sparse_ovs.formats import PackedWeight, pack
from support import oracles

EPS = 1e-5  # of BatchNorm


@dataclass
class ConvProblem:
    """What a convolution is made of; the tensors follow from it and the seed."""

    batch: int = 1
    in_channels: int = 8
    out_channels: int = 8
    size: tuple[int, int] = (6, 7)
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    density: float = 0.3
    pattern: str = "unstructured"
    block_rows: int | None = None
    bias: bool = True
    norm: bool = False
    residual: bool = False
    relu: bool = False
    layout: str = "contiguous"  # or "channels_last", "strided"
    seed: int = 0

    @property
    def out_size(self) -> tuple[int, int]:
        height, width = (
            (self.size[i] + 2 * self.padding[i] - self.dilation[i] * (self.kernel[i] - 1) - 1)
            // self.stride[i]
            + 1
            for i in range(2)
        )
        return height, width

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    def but(self, **changes: object) -> ConvProblem:
        """The same problem with some things changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass
class ConvData:
    """The tensors of a ConvProblem, its weight packed."""

    problem: ConvProblem
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    norm: list[Tensor]
    residual: Tensor | None
    packed: PackedWeight = field(init=False)

    def __post_init__(self) -> None:
        self.packed = pack(self.weight.detach(), block_rows=self.problem.block_rows)
        self.mask = self.packed.mask()

    def with_weight(self, weight: Tensor) -> ConvData:
        """The same tensors around another weight."""
        return ConvData(self.problem, self.x, weight, self.bias, self.norm, self.residual)

    def run(self, **changes: object) -> Tensor:
        """Our op on these tensors, some of them changed."""
        p = self.problem
        arguments: dict[str, object] = {
            "x": self.x,
            "weight": self.weight,
            "mask": self.mask,
            "bias": self.bias,
            "norm": self.norm,
            "residual": self.residual,
            "indices": self.packed.indices,
            "row_ptr": self.packed.row_ptr,
            "block_rows": self.packed.block_rows,
            "stride": p.stride,
            "padding": p.padding,
            "dilation": p.dilation,
            "groups": p.groups,
            "eps": EPS if self.norm else 0.0,
            "relu": p.relu,
        }
        return ops.conv2d(**{**arguments, **changes})  # type: ignore[arg-type]

    def torch(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Dense torch on these tensors."""
        p = self.problem
        return oracles.conv2d(
            self.x,
            self.weight,
            self.bias,
            norm=self.norm,
            eps=EPS,
            residual=self.residual,
            relu=p.relu,
            stride=p.stride,
            padding=p.padding,
            dilation=p.dilation,
            groups=p.groups,
            dtype=dtype,
        )

    def term_size(self) -> float:
        """The largest sum of the magnitudes of what an output is summed from."""

        def size(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.detach().abs()

        norm = list(self.norm)
        if norm:
            gamma, beta, mean, var = (t.detach() for t in norm)
            norm = [gamma.abs(), beta.abs(), -mean.abs(), var]
        sizes = ConvData(
            self.problem,
            self.x.detach().abs(),
            self.weight.detach().abs(),
            size(self.bias),
            norm,
            size(self.residual),
        )
        return float(sizes.torch().max())


def conv_data(problem: ConvProblem) -> ConvData:
    """Random tensors for a problem."""
    p = problem
    generator = torch.Generator().manual_seed(p.seed + 3)

    def randn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return ConvData(
        p,
        in_layout(randn(p.batch, p.in_channels, *p.size), p.layout),
        oracles.random_sparse_weight(p.weight_shape, p.density, p.pattern, p.seed),
        randn(p.out_channels) if p.bias else None,
        oracles.random_norm(p.out_channels, p.seed) if p.norm else [],
        in_layout(randn(p.batch, p.out_channels, *p.out_size), p.layout) if p.residual else None,
    )


def in_layout(x: Tensor, layout: str) -> Tensor:
    """The same numbers as "contiguous", "channels_last", or "strided": every second element of a
    larger tensor, rows and columns swapped."""
    if layout == "contiguous":
        return x.contiguous()
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    large = torch.full((*x.shape[:-2], x.shape[-1], 2 * x.shape[-2]), torch.nan)
    view = large[..., ::2].transpose(-1, -2)
    view.copy_(x)
    return view


def assert_right(data: ConvData) -> Tensor:
    """Our result, after it was found as exact as torch's."""
    ours = data.run()
    oracles.assert_as_exact_as_torch(
        ours, data.torch(torch.float64), data.torch(), scale=data.term_size()
    )
    return ours


def run_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    packed: PackedWeight | None = None,
    relu: bool = False,
) -> Tensor:
    """Our linear op; `packed` gives the structure where it shall be kept between calls."""
    packed = pack(weight.detach()) if packed is None else packed
    return ops.linear(
        x, weight, packed.mask(), bias, packed.indices, packed.row_ptr, packed.block_rows, relu
    )

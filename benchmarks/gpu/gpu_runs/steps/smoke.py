"""Each kernel family on two shapes against fp64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gpu.kernels.bsr_problems import ConvProblem, LinearProblem, PoolProblem, Variant, normals
from gpu_runs.place import Place
from gpu_runs.steps.checks import ALLOWED, check
from sparse_ovs.formats import to_csr, to_two_four
from sparse_ovs.ops.cuda import Launch, csr_conv2d, sp24_conv2d
from sparse_ovs.ops.cuda.launch import run as run_launch
from sparse_ovs.patterns import make_mask

Rows = Iterator[dict[str, Any]]
Launcher = Callable[..., tuple[Launch, Tensor]]

BLOCKS = Variant((64, 64), torch.float16)
# One as encoders have it, and one in which nothing divides anything.
LINEARS = {
    "linear": LinearProblem(rows=150, out_features=128, in_features=192),
    "odd linear": LinearProblem(rows=70, out_features=75, in_features=90, gap=3),
}
CONVS = {
    "conv 3x3": ConvProblem(2, out_channels=128, in_channels=64, size=(17, 21), density=0.3),
    "odd conv": ConvProblem(2, 75, 90, (9, 11), (3, 3), (2, 1), (1, 2), (1, 2)),
}
POOLS = {"pool": PoolProblem(2, 64, (8, 8)), "odd pool": PoolProblem(2, 75, (7, 9))}
# channels, out_channels, size, kernel
SINGLES = {"conv 3x3": (128, 128, (20, 20), 3), "odd conv 1x1": (75, 90, (9, 11), 1)}


def run(item: str, place: Place) -> Rows:
    """Rows of one family, by its name."""
    torch.manual_seed(0)
    if item == "sp24_residue":
        yield from _singles(item, sp24_conv2d, to_two_four, "float16", place)
    elif item == "csr_direct":
        yield from _singles(item, csr_conv2d, to_csr, "float32", place)
    else:
        with torch.device(place.device):
            yield from _blocks(item)


def _blocks(family: str) -> Rows:
    problems = {"bsr_linear": LINEARS, "bsr_conv2d": CONVS, "avg_pool2d": POOLS}[family]
    for name, problem in problems.items():
        kind = BLOCKS.dtype if isinstance(problem, PoolProblem) else BLOCKS
        for result in problem.results(kind, normals):  # type: ignore[arg-type]
            case = f"{name}, {result.name}"
            yield check(family, case, result.found, result.fp64, ALLOWED["float16"])


def _singles(
    family: str, launcher: Launcher, pack: Callable[..., Any], dtype_name: str, place: Place
) -> Rows:
    dtype = getattr(torch, dtype_name)
    for name, (channels, out_channels, size, kernel) in SINGLES.items():
        weight = torch.randn(out_channels, channels, kernel, kernel)
        mask = make_mask(weight, "unstructured", 0.1).to(place.device)
        weight = (weight.to(place.device) * mask).to(dtype)
        x = torch.randn(2, channels, *size, device=place.device).to(dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        if family == "csr_direct":
            x = x.contiguous()
        bias = torch.randn(out_channels, device=place.device)
        padding = (kernel // 2, kernel // 2)
        exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=padding).relu()
        launch, y = launcher(x, pack(weight, mask, dtype), bias, padding=padding, relu=True)
        y.fill_(torch.nan)
        found = run_launch(launch, y)
        yield check(family, f"{name}, forward", found, exact, ALLOWED[dtype_name])

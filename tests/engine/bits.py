"""Prints the hashes of narrow encoders' outputs on each ISA of this CPU, in fp32 and int8.

`python tests/engine/bits.py > tests/engine/bits.json` stores them anew, which is right only where
bits are meant to change. What is hashed comes from the native library alone: weights and pixels are
uniform numbers, which numpy makes of integers, and torch does no more than fold norms into weights,
element by element. Every CPU rounds products, quotients and square roots alike, so that neither
torch's SIMD nor libm nor the compiler has a say.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
import open_clip  # noqa: F401 - with torch, what takes its time when sparse_ovs is imported
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_RANDOM = np.random.RandomState()
T = TypeVar("T")
PATTERNS = ("unstructured", "block4x1", "2:4")


class Bottleneck(nn.Module):
    """CLIP's: the average pool takes the stride, in the branch and beside it."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * width)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.beside: nn.Module = nn.Identity()
        if inside != 4 * width:
            conv = nn.Conv2d(inside, 4 * width, 1, bias=False)
            self.beside = nn.Sequential(self.pool, conv, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.pool(F.relu(self.norm2(self.conv2(y))))
        return F.relu(self.norm3(self.conv3(y)) + self.beside(x))


class ResNet(nn.Module):
    """A stem of three, a pool, four bottlenecks; every stage is a map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        sizes = ((32, 16, 1), (64, 16, 1), (64, 24, 2), (96, 32, 2))
        self.stages = nn.ModuleList(Bottleneck(*size) for size in sizes)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.avg_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def quick_gelu(x: Tensor) -> Tensor:
    """What OpenAI's encoders have instead of GELU."""
    return x * torch.sigmoid(1.702 * x)


class ViTBlock(nn.Module):
    def __init__(self, width: int, heads: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.narrow(self.activation(self.wide(self.norm2(x))))


class ViT(nn.Module):
    """Patches of 8 pixels beside a class token; the tokens of one size."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 48, 8, stride=8)
        self.own = nn.Parameter(torch.empty(1, 1, 48))
        self.positions = nn.Parameter(torch.empty(1 + (height // 8) * (width // 8), 48))
        self.first = nn.LayerNorm(48)
        self.blocks = nn.ModuleList(ViTBlock(48, 3, kind) for kind in (quick_gelu, F.gelu))
        self.last = nn.LayerNorm(48)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.own.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return [self.last(x)]


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)
        return x + y * self.scale[:, None, None]


class ConvNeXt(nn.Module):
    """Stem and two stages of two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 24, 4, stride=4), nn.LayerNorm(24)
        self.stage1 = nn.Sequential(ConvNeXtBlock(24), ConvNeXtBlock(24))
        self.between, self.down = nn.LayerNorm(24), nn.Conv2d(24, 40, 2, stride=2)
        self.stage2 = nn.Sequential(ConvNeXtBlock(40), ConvNeXtBlock(40))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stage1(self.norm(self.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        y = self.between(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return [x, self.stage2(self.down(y))]


def uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    values = low + (high - low) * _RANDOM.random_sample(shape)
    return torch.from_numpy(values.astype(np.float32))


def kept(shape: tuple[int, ...], pattern: str) -> Tensor:
    """A mask of (O, I, *kernel), at density 0.2 where the pattern lets it."""
    matrix = (shape[0], math.prod(shape[2:]), shape[1])  # tap-major
    if pattern == "2:4":
        groups = _RANDOM.random_sample((*matrix[:2], matrix[2] // 4, 4))
        found = groups >= np.sort(groups)[..., 2:3]
    elif pattern == "block4x1":
        blocks = _RANDOM.random_sample((matrix[0] // 4, *matrix[1:])) < 0.2
        found = np.repeat(blocks, 4, axis=0)
    else:
        found = _RANDOM.random_sample(matrix) < 0.2
    return torch.from_numpy(found.reshape(shape[0], *shape[2:], shape[1])).movedim(-1, 1)


def fill(model: nn.Module) -> nn.Module:
    """Gives a model its numbers, in the order of their names; of four matrices in turn, one stays
    dense and three are pruned by a pattern each."""
    turn = 0
    for name, value in sorted(model.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        shape = tuple(value.shape)
        if value.dim() == 1:
            around_one = name.endswith(("weight", "running_var", "scale"))
            value.copy_(uniform(shape, *((0.5, 1.5) if around_one else (-0.5, 0.5))))
            continue
        bound = math.sqrt(3.0 / value[0].numel())
        value.copy_(uniform(shape, -bound, bound))
        if value.shape[1] % 4 == 0 and value.dim() in (2, 4):
            turn += 1
            if turn % 4:
                value.mul_(kept(shape, PATTERNS[turn % 4 - 1]))
    return model.eval()


def int8_by_hand(model: nn.Module, x: Tensor) -> dict[str, Any]:
    """Arguments of compile for int8, whose scales are powers of two whatever the maps are: what
    torch observes says no more than which values can be negative."""
    import sparse_ovs
    from sparse_ovs.engine.graph import Quant

    q = sparse_ovs.quantize(model, [x])
    values = {
        layer: Quant(2.0**-6, 128 if quant.zero_point else 0) for layer, quant in q.values.items()
    }
    scales = {layer: torch.full_like(each, 2.0**-8) for layer, each in q.weight_scales.items()}
    return {"precision": "int8", "quantization": sparse_ovs.Quantization(values, scales)}


def outputs_hash(
    model: nn.Module,
    shapes: Sequence[tuple[int, int, int, int]],
    threads: int = 2,
    int8: bool = False,
) -> str:
    """SHA-256 of the compiled model's outputs.

    Raises:
        ValueError: torch runs a part of it.
    """
    import sparse_ovs

    fill(model)
    how = int8_by_hand(model, uniform(shapes[0], -1.0, 1.0)) if int8 else {}
    compiled = sparse_ovs.compile(model, torch.zeros(shapes[0]), threads, autotune=False, **how)
    if "no native step" in str(compiled):
        raise ValueError(f"expected native steps alone, got\n{compiled}")
    content = hashlib.sha256()
    for shape in shapes:
        for output in compiled(uniform(shape, -1.0, 1.0)):
            content.update(output.contiguous().numpy().tobytes())
    return content.hexdigest()


def available_isas() -> list[str]:
    from sparse_ovs import _native

    return _native.available_isas()


def hashes(isa: str) -> dict[str, str]:
    """By encoder; in a process that has not imported sparse_ovs yet, which settles on an ISA."""
    os.environ["SPARSE_OVS_ISA"] = isa
    from sparse_ovs import _native

    if _native.isa() != isa:
        raise ValueError(f"expected {isa}, got {_native.isa()}")
    _RANDOM.seed(0)
    maps = [(1, 3, 64, 64), (2, 3, 41, 54), (1, 3, 200, 168)]
    tokens = [(1, 3, 40, 48), (2, 3, 40, 48)]
    found = {
        "resnet": outputs_hash(ResNet(), maps),
        "vit": outputs_hash(ViT(40, 48), tokens),
        "convnext": outputs_hash(ConvNeXt(), maps),
    }
    for threads in (1, 2):
        _RANDOM.seed(0)
        found[f"resnet int8, {threads} threads"] = outputs_hash(ResNet(), maps, threads, int8=True)
    return found


def in_fork(call: Callable[..., T], *arguments: str) -> T:
    """What a call gives in a child, which need not import torch again: that takes seconds."""
    with get_context("fork").Pool(1) as child:
        return child.apply(call, arguments)


def main() -> None:
    found = {isa: in_fork(hashes, isa) for isa in in_fork(available_isas)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

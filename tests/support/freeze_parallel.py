"""Trains a partly frozen model in two processes, for the test of DistributedDataParallel."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sparse_ovs.spectral import Freezing, freeze
from support.small_trunks import convs, small_trunk

STEPS = 4
# What moves, and of attention's joint projection the rows that do not (q and v of width 4).
LEARN = {"conv2.weight", "conv2.bias", "attend.attention.in_proj_weight"}
LEARN |= {"attend.attention.in_proj_bias", "attend.attention.out_proj.weight"}
LEARN |= {"attend.attention.out_proj.bias"}
FROZEN_ROWS = [*range(4), *range(8, 12)]


class _Attend(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


def build() -> nn.Module:
    """The same each time."""
    torch.manual_seed(1)
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(3, 4, 3))
    model.add_module("norm", nn.BatchNorm2d(4))
    model.add_module("conv2", nn.Conv2d(4, 4, 1))
    model.add_module("attend", _Attend())
    model.add_module("head", nn.Linear(4, 2))
    return model.train()


def freeze_some(model: nn.Module) -> Freezing:
    """The first convolution with its norm, q and v, and the head."""
    names = ["conv1", "attend.attention.in_proj.q", "attend.attention.in_proj.v", "head"]
    return freeze(model, names, norms=True)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """Of all parameters, with what moves weights that have no gradient."""
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)


def batch(step: int, rank: int) -> Tensor:
    """Images of one process at one step."""
    generator = torch.Generator().manual_seed(10 * step + rank)
    return torch.randn(2, 3, 6, 6, generator=generator)


def train(rank: int, folder: Path) -> None:
    """Each process writes what the model is then."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    model = build()
    freeze_some(model)
    wrapped = DistributedDataParallel(model)
    optimizer = optimizer_of(wrapped)
    for step in range(STEPS):
        optimizer.zero_grad()
        wrapped(batch(step, rank)).square().mean().backward()
        optimizer.step()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(state, folder / f"rank{rank}")
    dist.destroy_process_group()


def train_trunk(rank: int, folder: Path) -> None:
    """A trunk with a frozen prefix, which has to run as a plan."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    trunk = small_trunk()
    frozen = convs(trunk, "conv", "layer1.", "layer2.0.")
    freezing = freeze(trunk, frozen, norms=True)
    wrapped = DistributedDataParallel(trunk)
    optimizer = torch.optim.SGD(wrapped.parameters(), 1e-3, momentum=0.9, weight_decay=0.1)
    for step in range(2):
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(10 * step + rank)
        maps = wrapped(torch.randn(2, 3, 64, 64, generator=generator))
        sum(m.square().mean() for m in maps).backward()
        optimizer.step()
        assert freezing.prefixes[""].report().planned
    torch.save(trunk.state_dict(), folder / f"trunk{rank}")
    dist.destroy_process_group()

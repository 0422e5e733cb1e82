"""Trains a masked model in two processes, for the test of masks under DistributedDataParallel."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sparse_ovs.pruning.fixed import FixedMasks


def build() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A model and masks for it; the same each time."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    shapes = {name: model.get_submodule(name).weight.shape for name in ("0", "3")}
    return model, {name: torch.rand(shape) < 0.5 for name, shape in shapes.items()}


def batch(step: int, rank: int) -> torch.Tensor:
    """Images of one process at one step."""
    generator = torch.Generator().manual_seed(10 * step + rank)
    return torch.randn(2, 3, 6, 6, generator=generator)


def train(rank: int, folder: Path) -> None:
    """Two steps before pruning, two after; each process writes its weights and gradients."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    model, masks = build()
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.05, momentum=0.9)
    for step in range(4):
        if step == 2:
            FixedMasks(wrapped, {f"module.{n}": m for n, m in masks.items()}).attach(optimizer)
        optimizer.zero_grad()
        wrapped(batch(step, rank)).square().mean().backward()
        optimizer.step()
    tensors = dict(model.state_dict())
    tensors |= {
        f"{name}.grad": p.grad for name, p in model.named_parameters() if p.grad is not None
    }
    save_file({name: value.clone() for name, value in tensors.items()}, folder / f"rank{rank}")
    dist.destroy_process_group()

"""A small network to freeze parts of, what trains it, and what moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from sparse_ovs.nn import sparsify


class _DecaysAll(torch.optim.Optimizer):
    """Not torch's: it decays weights without a gradient too."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> None:
        with torch.enable_grad():
            closure()
        for p in self.param_groups[0]["params"]:
            p.mul_(0.9).sub_(0.01)


_Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, _Make] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "SGD for each": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, foreach=True),
    "SGD fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    "AdamW for each": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1, foreach=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1, fused=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9, centered=True, weight_decay=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, 0.1, weight_decay=0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, 0.1),
    "LBFGS": lambda p: torch.optim.LBFGS(p, 0.1, max_iter=3),
    "decays all": lambda p: _DecaysAll(p, {"lr": 0.1}),
}


def small_model(sparse: bool = False) -> nn.Sequential:
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 4, 1),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(64, 2),
    )
    if sparse:
        sparsify(model, "unstructured", 0.5, engine="native")
    return model.train()


def loss_of(model: nn.Module, step: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return (model(torch.randn(5, 3, 6, 6, generator=generator)) - 1).square().mean()


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int, first: int = 0) -> None:
    for step in range(first, first + count):

        def closure(step: int = step) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(model, step)
            loss.backward()
            return loss

        optimizer.step(closure)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def moved(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """What is no longer the same to the bit."""
    now = model.state_dict()
    return {name for name in now if not torch.equal(_bits(now[name]), _bits(before[name]))}


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


OF_LAYERS = {"0.weight", "0.bias", "6.weight", "6.bias"}
OF_NORM = {"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}

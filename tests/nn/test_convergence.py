"""Training with sparse kernels goes where dense masked training goes."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs import sparsify
from sparse_ovs.nn import SparseConv2d


class Block(nn.Module):
    """A residual block of two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(x + y)


def small_resnet() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        Block(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def sparse_twin(model: nn.Module, engine: str) -> nn.Module:
    twin = copy.deepcopy(model)
    sparsify(twin, density=0.3, exclude=["0", "10"], engine=engine)
    return twin.train()


def losses(model: nn.Module, steps: int) -> Tensor:
    """(steps,) of SGD with momentum on labels that a random network gave."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(256, 3, 16, 16, generator=generator)
    labels = (x.mean((2, 3)) @ torch.randn(3, 10, generator=generator)).argmax(1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    found = []
    for step in range(steps):
        batch = slice(step % 8 * 32, step % 8 * 32 + 32)
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x[batch]), labels[batch])
        loss.backward()
        optimiser.step()
        found.append(loss.detach())
    return torch.stack(found)


def assert_pruned_weights_are_zero(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, SparseConv2d):
            assert not layer.reason
            assert layer.weight[~layer.mask].count_nonzero() == 0


def test_the_first_ten_losses_are_those_of_dense_training() -> None:
    model = small_resnet()
    sparse, dense = sparse_twin(model, "native"), sparse_twin(model, "dense")
    assert float((losses(sparse, 10) - losses(dense, 10)).abs().max()) <= 1e-4
    assert_pruned_weights_are_zero(sparse)


@pytest.mark.slow
def test_two_hundred_steps_differ_no_more_than_starts_one_ulp_apart() -> None:
    model = small_resnet()
    sparse, dense, ulp = (sparse_twin(model, e) for e in ("native", "dense", "dense"))
    with torch.no_grad():
        for parameter in ulp.parameters():
            moved = torch.nextafter(parameter, torch.full_like(parameter, torch.inf))
            parameter.copy_(torch.where(parameter != 0, moved, 0.0))
    reference = losses(dense, 200)
    ours = (losses(sparse, 200) - reference)[-50:].abs().mean()
    theirs = (losses(ulp, 200) - reference)[-50:].abs().mean()
    assert_pruned_weights_are_zero(sparse)
    assert float(ours) <= 2 * float(theirs), f"{ours:.3g} against {theirs:.3g}"

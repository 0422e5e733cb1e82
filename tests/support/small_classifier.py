"""A classifier that compiles in no time: BatchNorm, biases, a residual and a linear layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.conv1 = nn.Conv2d(16, 16, 1)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.down = nn.Conv2d(16, 32, 1, stride=2)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        y = F.relu(self.conv2(F.relu(self.conv1(x))) + self.down(x))
        return self.head(y.mean((2, 3)))


def make_classifier() -> Classifier:
    """The same each time, with a BatchNorm that has statistics."""
    torch.manual_seed(0)
    made = Classifier().eval()
    made.norm.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr, operator]
    made.norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr, operator]
    made.norm.weight.data.uniform_(0.5, 1.5)
    return made


def smooth_images() -> Tensor:
    """Twelve whose neighbouring pixels tell of each other: (12, 3, 24, 24)."""
    coarse = torch.randn(12, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, size=(24, 24), mode="bicubic")


def norm_factor(module: nn.Module) -> Tensor:
    """(channels,): what the BatchNorm of that name multiplies by."""
    norm = module.get_submodule("norm")
    assert isinstance(norm, nn.BatchNorm2d)
    variance = module.get_buffer("norm.running_var")
    return norm.weight.detach() / (variance + norm.eps).sqrt()

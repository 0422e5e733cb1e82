"""Encoders that compile in no time: a small bottleneck, and a convolution with any forward."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from support.oracles import random_sparse_weight


class Small(nn.Module):
    """A bottleneck encoder in miniature: stem, pooling, downsampled residual, two maps out."""

    def __init__(self, density: float = 0.3, pattern: str = "unstructured", width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width // 2, 1)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1)
        self.conv3 = nn.Conv2d(width // 2, 2 * width, 1)
        self.down = nn.Conv2d(width, 2 * width, 1)
        for seed, conv in enumerate((self.conv1, self.conv2, self.conv3, self.down)):
            conv.weight.data = random_sparse_weight(conv.weight.shape, density, pattern, seed)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu(self.norm(self.stem(x)))
        y = F.relu(self.conv2(F.relu(self.conv1(x))))
        y = self.conv3(F.avg_pool2d(y, 2))
        return [x, F.relu(y + self.down(F.avg_pool2d(x, 2)))]


class Host(nn.Module):
    """A convolution among operations that the engine has no step for."""

    def __init__(self, forward: Callable[[nn.Conv2d, Tensor], object]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.conv.weight.data = random_sparse_weight((3, 3, 3, 3), 0.5)
        self._forward = forward

    def forward(self, x: Tensor) -> object:
        return self._forward(self.conv, x)

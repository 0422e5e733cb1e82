"""Atrous spatial pyramid pooling: one map seen at several rates and as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the map's size, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class ASPP(nn.Module):
    """A 1x1 convolution, a dilated 3x3 one for each rate and the map's mean side by side,
    projected (DeepLabV3, arXiv 1706.05587, section 3.3).

    Args:
        inputs: channels of the map.
        dim: channels of every branch, and of the result.
        rates: dilations.
        dropout: of the result.
    """

    def __init__(self, inputs: int, dim: int, rates: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_bn_relu(inputs, dim), *(conv_bn_relu(inputs, dim, 3, rate) for rate in rates)]
        )
        self.pooled = conv_bn_relu(inputs, dim)
        self.project = conv_bn_relu(dim * (len(rates) + 2), dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, dim, h, w).

        Raises:
            ValueError: a single image where its mean is to be normalised over the batch.
        """
        if len(x) == 1 and self.pooled[1].training:
            raise ValueError("expected at least 2 images to train image pooling on, got 1")
        mean = self.pooled(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        seen = torch.cat([*(branch(x) for branch in self.branches), mean], dim=1)
        return self.dropout(self.project(seen))

"""A multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Perceptron(nn.Module):
    """Linear layers with a ReLU between each two.

    Args:
        widths: of the input, of what is hidden, and of the output.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., widths[0]) -> (..., widths[-1])."""
        first, *rest = self.layers
        x = first(x)
        for layer in rest:
            x = layer(x.relu())
        return x

"""The range of a map's numbers over many batches, and the u8 numbers that cover it."""

from __future__ import annotations

from math import frexp

import torch
from torch import Tensor

from sparse_ovs.engine.graph import Quant

_BINS = 1 << 13


class Range:
    """Of all numbers that it was shown.

    Args:
        percentile: of the numbers that the range leaves out at neither end, such as 99.99; None:
            all are inside.
    """

    def __init__(self, percentile: float | None) -> None:
        self._percentile = percentile
        self._low, self._high = 0.0, 0.0
        self._reach = 0.0  # a power of two: bins cover -reach to reach
        self._counts = torch.zeros(_BINS, dtype=torch.float64)

    def show(self, x: Tensor) -> None:
        """Widens the range.

        Raises:
            ValueError: NaN or Inf among the numbers.
        """
        low, high = (float(end) for end in torch.aminmax(x))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise ValueError("expected finite numbers, got NaN or Inf")
        self._low, self._high = min(self._low, low), max(self._high, high)
        if self._percentile is not None:
            self._cover(max(abs(low), abs(high)))
            self._counts += torch.histc(x, _BINS, -self._reach, self._reach)

    def _cover(self, most: float) -> None:
        if most == 0.0 and self._reach == 0.0:
            self._reach = 1.0
        while most > self._reach:
            if self._reach == 0.0:
                self._reach = 2.0 ** frexp(most)[1]
                continue
            self._reach *= 2
            pairs = self._counts.reshape(-1, 2).sum(1)
            self._counts = torch.zeros_like(self._counts)
            self._counts[_BINS // 4 : -_BINS // 4] = pairs

    def ends(self) -> tuple[float, float]:
        """Lowest and highest number to cover; 0 is between them."""
        if self._percentile is None:
            return self._low, self._high
        share = self._counts.cumsum(0) / self._counts.sum()
        rest = 1 - self._percentile / 100
        width = 2 * self._reach / _BINS
        # The outer ends of the first and last bin that are not left out.
        first = int((share > rest).nonzero()[0])
        last = int((share < 1 - rest).sum())
        low = max(self._low, -self._reach + first * width)
        high = min(self._high, -self._reach + (last + 1) * width)
        return min(low, 0.0), max(high, 0.0)

    def quant(self) -> Quant:
        """u8 numbers over the range: 0 is one of them, exactly."""
        low, high = self.ends()
        scale = float(torch.tensor((high - low) / 255))  # a float32, as it is stored
        if scale == 0.0:
            return Quant(1.0, 0)
        return Quant(scale, min(255, max(0, round(-low / scale))))


def weight_scales(weight: Tensor) -> Tensor:
    """(O,) float32: s8 numbers -127 to 127 over each output channel's weights (O, ...)."""
    most = weight.flatten(1).abs().amax(1).to(torch.float32)
    return torch.where(most > 0, most / 127, torch.ones_like(most))

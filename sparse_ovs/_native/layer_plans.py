"""Plans of one layer, as the eager operators run them."""

from __future__ import annotations

from collections.abc import Sequence

from sparse_ovs._native.plan import Plan
from sparse_ovs._native.weights import NativeWeights


class ConvPlan(Plan):
    """A convolution: shapes are (N, C, H, W); inputs are the map and, if wanted, the residual."""

    def __init__(
        self,
        weights: NativeWeights,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        layout: int,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        relu: bool,
        residual: bool,
        threads: int,
    ) -> None:
        super().__init__()
        source, target = self.tensor(in_shape, layout), self.tensor(out_shape, layout)
        added = self.tensor(out_shape, layout) if residual else None
        self.conv2d(weights, source, target, stride, padding, dilation, int(relu), added)
        self.finalize([source] if added is None else [source, added], [target], threads)


class AvgPoolPlan(Plan):
    """A mean over 2x2 pixels, stride 2."""

    def __init__(
        self, in_shape: Sequence[int], out_shape: Sequence[int], layout: int, threads: int
    ) -> None:
        super().__init__()
        source, target = self.tensor(in_shape, layout), self.tensor(out_shape, layout)
        self.avg_pool2x2(source, target)
        self.finalize([source], [target], threads)

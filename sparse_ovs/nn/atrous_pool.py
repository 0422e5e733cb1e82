"""AtrousPool2x2: CLIP's downsampling without its stride."""

from __future__ import annotations

from torch import Tensor, nn

from sparse_ovs import ops


class AtrousPool2x2(nn.Module):
    """(N, C, H, W) in and out: see `ops.atrous_pool2x2`."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        return ops.atrous_pool2x2(x, self.dilation)

    def extra_repr(self) -> str:
        return f"dilation={self.dilation}"

"""NativeBatchNorm2d: BatchNorm that trains several times as fast as torch's on contiguous maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.nn.structure import adopt


class NativeBatchNorm2d(nn.BatchNorm2d):
    """Drop-in nn.BatchNorm2d: same call, parameters and buffers. Contiguous float32 maps on the CPU
    run native in training; all else, and eval mode, goes to torch."""

    @staticmethod
    def fits(norm: nn.Module) -> bool:
        """The module is a plain BatchNorm with affine parameters and running statistics."""
        return type(norm) is nn.BatchNorm2d and norm.affine and norm.track_running_stats

    @classmethod
    def from_torch(cls, norm: nn.BatchNorm2d) -> NativeBatchNorm2d:
        """The native twin of a norm that fits; shares its parameters and buffers."""
        made = cls.__new__(cls)
        adopt(made, norm)
        return made

    def to_torch(self) -> nn.BatchNorm2d:
        """A plain nn.BatchNorm2d that shares parameters and buffers."""
        norm = nn.BatchNorm2d.__new__(nn.BatchNorm2d)
        adopt(norm, self)
        return norm

    def forward(self, x: Tensor) -> Tensor:
        # One value a channel has no variance: torch says so.
        native = self.training and not torch.is_autocast_enabled("cpu") and x.numel() > x.shape[1]
        if not native or ops.batch_norm_unsupported(x) or self.weight.dtype != torch.float32:
            return super().forward(x)
        y, mean, variance = ops.batch_norm(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            momentum = self.momentum
            if momentum is None:  # the plain average of what was seen
                momentum = 1.0 / float(self.num_batches_tracked)  # type: ignore[arg-type]
            count = x.numel() / x.shape[1]
            self.running_mean.lerp_(mean, momentum)  # type: ignore[union-attr]
            unbiased = variance * (count / (count - 1))
            self.running_var.lerp_(unbiased, momentum)  # type: ignore[union-attr]
        return y

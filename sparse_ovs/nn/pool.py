"""NativeAvgPool2x2: CLIP's downsampling by our own kernels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.nn.structure import adopt


class NativeAvgPool2x2(nn.AvgPool2d):
    """Drop-in nn.AvgPool2d(2): same call; what our kernels do not take goes to torch.

    They take float32 maps on the CPU, several times as fast as torch, and channels_last maps on a
    GPU, which stay so.
    """

    _dtypes: dict[str | None, tuple[torch.dtype, ...]]

    @staticmethod
    def fits(pool: nn.Module) -> bool:
        """The module is a plain mean over 2x2 pixels with stride 2."""
        return (
            type(pool) is nn.AvgPool2d
            and pool.kernel_size in (2, (2, 2))
            and pool.stride in (2, (2, 2))
            and pool.padding in (0, (0, 0))
            and not pool.ceil_mode
            and pool.divisor_override is None
        )

    @classmethod
    def from_torch(cls, pool: nn.AvgPool2d) -> NativeAvgPool2x2:
        """The native twin of a pool that fits."""
        made = cls.__new__(cls)
        adopt(made, pool)
        # Asked once, not in forward, which torch.compile traces.
        made._dtypes = ops.avg_pool_dtypes()
        return made

    def to_torch(self) -> nn.AvgPool2d:
        """A plain nn.AvgPool2d."""
        pool = nn.AvgPool2d.__new__(nn.AvgPool2d)
        adopt(pool, self)
        del pool._dtypes
        return pool

    def forward(self, x: Tensor) -> Tensor:
        family = ops.family_of(x.device)
        native = (
            x.dim() == 4
            and min(x.shape[2:]) >= 2
            and x.dtype in self._dtypes.get(family, ())
            and (family == "native" or ops.memory_format(x) == torch.channels_last)
        )
        return ops.avg_pool2x2(x) if native else super().forward(x)

"""sparse_ovs::atrous_pool2x2: CLIP's 2x2 pooling where a stage keeps its resolution."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.ops.layout import memory_format

torch.library.define(
    "sparse_ovs::atrous_pool2x2",
    "(Tensor x, int dilation) -> Tensor",
    tags=(torch.Tag.needs_fixed_stride_order,),
)
# As programs that torch exports name it.
ATROUS_POOL2X2 = torch.ops.sparse_ovs.atrous_pool2x2.default


def atrous_pool2x2(x: Tensor, dilation: int) -> Tensor:
    """Mean over 2x2 pixels that are `dilation` apart, stride 1: y[i] = (x[i] + x[i + dilation]) / 2
    along rows, then along columns. A neighbour beyond the last row or column is the pixel itself.

    Every (2 * dilation)-th value is that of an average pooling with stride 2 of every dilation-th
    pixel. The compiled engine has a step for it.

    Args:
        x: (N, C, H, W) of a floating dtype; channels_last stays channels_last.
        dilation: at least 1.

    Returns:
        (N, C, H, W) of x's dtype and layout.

    Raises:
        ValueError: x is no map, or a dilation below 1.
    """
    if x.dim() != 4 or dilation < 1:
        raise ValueError(
            "expected a map (N, C, H, W) and a dilation of at least 1 to pool, got "
            f"{tuple(x.shape)} and {dilation}"
        )
    return torch.ops.sparse_ovs.atrous_pool2x2(x, dilation)


@torch.library.register_fake("sparse_ovs::atrous_pool2x2")
def _fake(x: Tensor, dilation: int) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


@torch.library.impl("sparse_ovs::atrous_pool2x2", "CompositeExplicitAutograd")
def _pool(x: Tensor, dilation: int) -> Tensor:
    form = memory_format(x)
    for dim in (2, 3):
        paired = max(x.shape[dim] - dilation, 0)
        mean = torch.lerp(
            x.narrow(dim, 0, paired), x.narrow(dim, x.shape[dim] - paired, paired), 0.5
        )
        x = torch.cat([mean, x.narrow(dim, paired, x.shape[dim] - paired)], dim)
    return x.contiguous(memory_format=form)


def _context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.dilation = inputs[1]


def _backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    for dim in (3, 2):
        paired = max(grad.shape[dim] - ctx.dilation, 0)
        half = grad.narrow(dim, 0, paired) / 2
        alone = grad.narrow(dim, paired, grad.shape[dim] - paired)
        grad = torch.cat([half, alone], dim)
        grad.narrow(dim, grad.shape[dim] - paired, paired).add_(half)
    return grad, None


torch.library.register_autograd("sparse_ovs::atrous_pool2x2", _backward, setup_context=_context)

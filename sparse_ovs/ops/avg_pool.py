"""sparse_ovs::avg_pool2x2: the mean over 2x2 pixels, stride 2, as CLIP's ResNets downsample."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.kernels import unavailable_reason as triton_unavailable
from sparse_ovs.ops.cuda.request import GPU_DTYPES
from sparse_ovs.ops.layout import empty_output, memory_format, native_layout, nhwc
from sparse_ovs.threads import get_num_threads

torch.library.define(
    "sparse_ovs::avg_pool2x2", "(Tensor x) -> Tensor", tags=(torch.Tag.needs_fixed_stride_order,)
)


def avg_pool2x2(x: Tensor) -> Tensor:
    """Mean over 2x2 pixels with stride 2; an odd last row or column is left out.

    Args:
        x: (N, C, H, W), H and W at least 2: float32 on the CPU; float32, float16 or bfloat16 on a
            GPU. channels_last stays channels_last.

    Returns:
        (N, C, H // 2, W // 2) of x's dtype and layout.
    """
    return torch.ops.sparse_ovs.avg_pool2x2(x)


def avg_pool_dtypes() -> dict[str | None, tuple[torch.dtype, ...]]:
    """What is pooled by our kernels, by family (see `family_of`); a family that is not there on
    this machine has no entry."""
    found: dict[str | None, tuple[torch.dtype, ...]] = {}
    if not _native.unavailable_reason():
        found["native"] = (torch.float32,)
    if not triton_unavailable():
        found["cuda"] = GPU_DTYPES
    return found


@torch.library.register_fake("sparse_ovs::avg_pool2x2")
def _avg_pool_fake(x: Tensor) -> Tensor:
    shape = [x.shape[0], x.shape[1], x.shape[2] // 2, x.shape[3] // 2]
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


@torch.library.impl("sparse_ovs::avg_pool2x2", "CPU")
def _avg_pool_cpu(x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        raise TypeError(f"expected a float32 map to pool, got {x.dtype}")
    if x.dim() != 4 or min(x.shape[2:]) < 2:
        raise ValueError(f"expected a map of at least 2x2 pixels to pool, got {tuple(x.shape)}")
    form = memory_format(x)
    x = x.contiguous(memory_format=form)
    shape = (x.shape[0], x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
    out = empty_output(shape, form)
    if out.numel():
        threads = get_num_threads()
        plan = _plan(tuple(x.shape), native_layout(form), threads)
        plan.run([x.data_ptr()], out.data_ptr(), threads)
    return out


def avg_pool2x2_on_gpu(x: Tensor) -> Tensor:
    """See `avg_pool2x2`."""
    from sparse_ovs.kernels import avg_pool2d

    form = memory_format(x)
    return avg_pool2d.forward(nhwc(x), 2).contiguous(memory_format=form)


torch.library.impl("sparse_ovs::avg_pool2x2", "CUDA", avg_pool2x2_on_gpu)


@lru_cache(maxsize=64)
def _plan(in_shape: tuple[int, ...], layout: int, threads: int) -> _native.Plan:
    return _native.avg_pool_plan(in_shape, layout, threads)


def _avg_pool_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.save_for_backward(inputs[0])


def _avg_pool_backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    (x,) = ctx.saved_tensors
    return torch.ops.aten.avg_pool2d_backward(grad, x, [2, 2], [2, 2], [0, 0], False, True, None)


torch.library.register_autograd(
    "sparse_ovs::avg_pool2x2", _avg_pool_backward, setup_context=_avg_pool_context
)

"""Sparse convolution and linear as torch custom ops, dispatched by reasons."""

from sparse_ovs.ops.atrous_pool import ATROUS_POOL2X2, atrous_pool2x2
from sparse_ovs.ops.avg_pool import avg_pool2x2, avg_pool_dtypes
from sparse_ovs.ops.backends import family_of
from sparse_ovs.ops.batch_norm import batch_norm, batch_norm_unsupported
from sparse_ovs.ops.conv import conv2d
from sparse_ovs.ops.conv_gradients import conv2d_gradients
from sparse_ovs.ops.cuda import gradients, on_gpu
from sparse_ovs.ops.cuda.choose import gpu_route
from sparse_ovs.ops.cuda.routes import BLOCKS
from sparse_ovs.ops.decide import MaskWindow, decide, decide_masks, decide_unsupported
from sparse_ovs.ops.deformable_attention import (
    deformable_attention,
    deformable_attention_around,
    deformable_attention_reference,
    deformable_attention_unsupported,
    deformable_places,
)
from sparse_ovs.ops.group_norm import group_norm_, group_norm_unsupported
from sparse_ovs.ops.invalidate import invalidate
from sparse_ovs.ops.layout import memory_format
from sparse_ovs.ops.linear import linear
from sparse_ovs.ops.linear_gradients import linear_gradients
from sparse_ovs.ops.openmp import share_torch_threads
from sparse_ovs.ops.streams import stream_bytes
from sparse_ovs.ops.unsupported import conv2d_unsupported, linear_unsupported

__all__ = [
    "ATROUS_POOL2X2",
    "BLOCKS",
    "MaskWindow",
    "atrous_pool2x2",
    "avg_pool2x2",
    "avg_pool_dtypes",
    "batch_norm",
    "batch_norm_unsupported",
    "conv2d",
    "conv2d_gradients",
    "conv2d_unsupported",
    "decide",
    "decide_masks",
    "decide_unsupported",
    "deformable_attention",
    "deformable_attention_around",
    "deformable_attention_reference",
    "deformable_attention_unsupported",
    "deformable_places",
    "family_of",
    "gpu_route",
    "gradients",
    "group_norm_",
    "group_norm_unsupported",
    "invalidate",
    "linear",
    "linear_gradients",
    "linear_unsupported",
    "memory_format",
    "on_gpu",
    "stream_bytes",
]

share_torch_threads()

"""Sparse convolution and linear as torch custom ops, dispatched by reasons."""

from sparse_ovs.ops.avg_pool import avg_pool2x2, avg_pool_unsupported
from sparse_ovs.ops.conv import conv2d, conv2d_unsupported
from sparse_ovs.ops.conv_gradients import conv2d_gradients
from sparse_ovs.ops.linear import linear, linear_unsupported
from sparse_ovs.ops.linear_gradients import linear_gradients
from sparse_ovs.ops.openmp import share_torch_threads
from sparse_ovs.ops.streams import invalidate, stream_bytes

__all__ = [
    "avg_pool2x2",
    "avg_pool_unsupported",
    "conv2d",
    "conv2d_gradients",
    "conv2d_unsupported",
    "invalidate",
    "linear",
    "linear_gradients",
    "linear_unsupported",
    "stream_bytes",
]

share_torch_threads()

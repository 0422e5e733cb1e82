"""sparse_ovs::conv2d: [relu](norm(conv2d(x, weight) + bias) + residual), weight sparse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparse_ovs.ops.arguments import takes
from sparse_ovs.ops.conv_autograd import backward, save_for_backward
from sparse_ovs.ops.conv_call import ConvCall
from sparse_ovs.ops.conv_cpu import conv2d_on_cpu
from sparse_ovs.ops.cuda.on_gpu import conv2d_on_gpu

torch.library.define(
    "sparse_ovs::conv2d",
    "(Tensor x, Tensor weight, Tensor mask, Tensor? bias, Tensor[] norm, Tensor? residual, "
    "Tensor indices, Tensor row_ptr, int block_rows, int[] stride, int[] padding, int[] dilation, "
    "int groups, float eps, bool relu) -> Tensor",
    tags=(torch.Tag.needs_fixed_stride_order,),
)


def conv2d(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    norm: Sequence[Tensor],
    residual: Tensor | None,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    eps: float = 0.0,
    relu: bool = False,
) -> Tensor:
    """Sparse 2d convolution with a fused eval-mode BatchNorm, residual and ReLU.

    Args:
        x: (N, C, H, W): float32 on the CPU; float32, float16 or bfloat16 on a GPU. channels_last
            stays channels_last; other strides are copied.
        weight: (O, C / groups, kh, kw) float32 (on a GPU any of the three, whatever x is), dense
            with zeros. Only the places that the structure names are read; in-place writes through
            torch are noticed at the next call.
        mask: bool like weight, True where the structure stores one; it masks the weight's gradient.
        bias: (O,) or None.
        norm: [] or [gamma, beta, running_mean, running_var], each (O,), of a BatchNorm with `eps`.
        residual: of the output's shape, added before the ReLU, or None.
        indices, row_ptr, block_rows: structure of a `formats.PackedWeight` (16-bit indices also as
            int16 bits).
        stride, padding, dilation: (vertical, horizontal).

    Returns:
        (N, O, H', W') of x's dtype and layout.

    Weights outside the structure never touch x: NaN or Inf under them do not spread, unlike in a
    dense convolution.
    """
    return torch.ops.sparse_ovs.conv2d(
        x,
        weight,
        mask,
        bias,
        list(norm),
        residual,
        indices,
        row_ptr,
        block_rows,
        list(stride),
        list(padding),
        list(dilation),
        groups,
        eps,
        relu,
    )


@torch.library.register_fake("sparse_ovs::conv2d")
@takes(ConvCall.of)
def _conv2d_fake(call: ConvCall) -> Tensor:
    x = call.x
    return torch.empty(call.out_shape, dtype=x.dtype, device=x.device, memory_format=call.form)


torch.library.impl("sparse_ovs::conv2d", "CPU", conv2d_on_cpu)
torch.library.impl("sparse_ovs::conv2d", "CUDA", conv2d_on_gpu)
torch.library.register_autograd("sparse_ovs::conv2d", backward, setup_context=save_for_backward)

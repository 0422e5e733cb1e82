"""sparse_ovs::batch_norm: BatchNorm by the statistics of the batch, as in training."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.ops.layout import empty_output
from sparse_ovs.threads import get_num_threads

torch.library.define(
    "sparse_ovs::batch_norm",
    "(Tensor x, Tensor gamma, Tensor beta, float eps) -> (Tensor, Tensor, Tensor)",
    tags=(torch.Tag.needs_fixed_stride_order,),
)
torch.library.define(
    "sparse_ovs::batch_norm_gradients",
    "(Tensor grad, Tensor x, Tensor gamma, Tensor mean, Tensor variance, float eps, "
    "bool need_input) -> (Tensor, Tensor, Tensor)",
    tags=(torch.Tag.needs_fixed_stride_order,),
)


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / sqrt(variance + eps) * gamma + beta, channel by channel.

    Args:
        x: (N, C, H, W) float32 on the CPU; copied if not contiguous.
        gamma, beta: (C,) float32.

    Returns:
        The normalised map; the mean and the variance of the batch, (C,), the latter without
        Bessel's correction. No gradient flows through the last two.
    """
    return torch.ops.sparse_ovs.batch_norm(x, gamma, beta, eps)


def batch_norm_unsupported(x: Tensor) -> list[str]:
    """Reasons why no kernel normalises this map; empty if one does."""
    reasons = []
    if x.device.type != "cpu":
        reasons.append(f"{x.device.type} has no kernel yet")
    elif _native.unavailable_reason():
        reasons.append(_native.unavailable_reason())
    if x.dtype != torch.float32:
        reasons.append(f"{str(x.dtype).removeprefix('torch.')} has no CPU kernel")
    if x.dim() != 4 or not x.is_contiguous():
        reasons.append("only contiguous maps (N, C, H, W) have a kernel")
    return reasons


def _shape(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[1], x.shape[2] * x.shape[3]


@torch.library.register_fake("sparse_ovs::batch_norm")
def _batch_norm_fake(
    x: Tensor, gamma: Tensor, beta: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), torch.empty_like(gamma), torch.empty_like(gamma)


@torch.library.impl("sparse_ovs::batch_norm", "CPU")
def _batch_norm_cpu(
    x: Tensor, gamma: Tensor, beta: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    if x.dim() != 4 or x.numel() == 0:
        raise ValueError(f"expected a map (N, C, H, W) with pixels, got {tuple(x.shape)}")
    for name, vector in (("gamma", gamma), ("beta", beta)):
        if tuple(vector.shape) != (x.shape[1],):
            raise ValueError(
                f"expected a {name} of shape ({x.shape[1]},), got {tuple(vector.shape)}"
            )
    for tensor in (x, gamma, beta):
        if tensor.dtype != torch.float32:
            raise TypeError(f"expected float32 tensors, got {tensor.dtype}")
    x, gamma, beta = x.contiguous(), gamma.contiguous(), beta.contiguous()
    out = empty_output(x.shape, torch.contiguous_format)
    mean, variance = torch.empty_like(gamma), torch.empty_like(gamma)
    _native.batch_norm(
        _shape(x),
        eps,
        x.data_ptr(),
        gamma.data_ptr(),
        beta.data_ptr(),
        mean.data_ptr(),
        variance.data_ptr(),
        out.data_ptr(),
        get_num_threads(),
    )
    return out, mean, variance


@torch.library.register_fake("sparse_ovs::batch_norm_gradients")
def _gradients_fake(
    grad: Tensor,
    x: Tensor,
    gamma: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    need_input: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = x.new_empty(x.shape if need_input else 0)
    return grad_x, torch.empty_like(gamma), torch.empty_like(gamma)


@torch.library.impl("sparse_ovs::batch_norm_gradients", "CPU")
def _gradients_cpu(
    grad: Tensor,
    x: Tensor,
    gamma: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    need_input: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    grad, x, gamma = grad.contiguous(), x.contiguous(), gamma.contiguous()
    grad_x = empty_output(x.shape, torch.contiguous_format) if need_input else x.new_empty(0)
    grad_gamma, grad_beta = torch.empty_like(gamma), torch.empty_like(gamma)
    _native.batch_norm_gradients(
        _shape(x),
        eps,
        grad.data_ptr(),
        x.data_ptr(),
        gamma.data_ptr(),
        mean.data_ptr(),
        variance.data_ptr(),
        grad_x.data_ptr() if need_input else None,
        grad_gamma.data_ptr(),
        grad_beta.data_ptr(),
        get_num_threads(),
    )
    return grad_x, grad_gamma, grad_beta


def _context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, gamma, _, ctx.eps = inputs
    _, mean, variance = output
    ctx.mark_non_differentiable(mean, variance)
    ctx.save_for_backward(x, gamma, mean, variance)


def _backward(ctx, grad: Tensor, grad_mean, grad_variance):  # type: ignore[no-untyped-def]
    needs_x, needs_gamma, needs_beta = ctx.needs_input_grad[:3]
    grad_x, grad_gamma, grad_beta = torch.ops.sparse_ovs.batch_norm_gradients(
        grad, *ctx.saved_tensors, ctx.eps, needs_x
    )
    return (
        grad_x if needs_x else None,
        grad_gamma if needs_gamma else None,
        grad_beta if needs_beta else None,
        None,
    )


torch.library.register_autograd("sparse_ovs::batch_norm", _backward, setup_context=_context)

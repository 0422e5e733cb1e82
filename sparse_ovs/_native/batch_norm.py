"""BatchNorm in training, over contiguous fp32 maps (n, c, pixels); arguments are addresses."""

from __future__ import annotations

from sparse_ovs._native.loading import check, library


def batch_norm(
    shape: tuple[int, int, int],
    eps: float,
    x: int,
    gamma: int,
    beta: int,
    mean: int,
    variance: int,
    out: int,
    threads: int,
) -> None:
    """Writes mean, variance (c,), without Bessel's correction, and out; the GIL is released."""
    check(library().sovs_batch_norm(*shape, eps, x, gamma, beta, mean, variance, out, threads))


def batch_norm_gradients(
    shape: tuple[int, int, int],
    eps: float,
    grad: int,
    x: int,
    gamma: int,
    mean: int,
    variance: int,
    grad_x: int | None,
    grad_gamma: int,
    grad_beta: int,
    threads: int,
) -> None:
    """Writes the gradients, the input's where it is wanted; the GIL is released."""
    check(
        library().sovs_batch_norm_gradients(
            *shape, eps, grad, x, gamma, mean, variance, grad_x, grad_gamma, grad_beta, threads
        )
    )

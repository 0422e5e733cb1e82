"""GroupNorm in place, and what a feature pyramid does after it; arguments are addresses."""

from __future__ import annotations

from sparse_ovs._native.loading import check, library


def group_norm(
    shape: tuple[int, int, int, int],
    groups: int,
    eps: float,
    x: int,
    gamma: int,
    beta: int,
    above: int | None,
    above_size: tuple[int, int],
    relu: bool,
    threads: int,
) -> None:
    """Overwrites x (N, C, H, W), see sovs_group_norm; the GIL is released.

    Args:
        above: (N, C, h, w) of above_size; None where there is none.
    """
    check(
        library().sovs_group_norm(
            *shape, groups, eps, x, gamma, beta, above, *above_size, int(relu), threads
        )
    )

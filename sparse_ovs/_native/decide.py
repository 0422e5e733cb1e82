"""One class a pixel from scores on a coarse grid; arguments are addresses of contiguous arrays."""

from __future__ import annotations

from sparse_ovs._native.loading import check, library


def decide(
    grid_shape: tuple[int, int, int],
    grid: int,
    size: tuple[int, int],
    logits: bool,
    labels: int,
    confidence: int | None,
    scores: int | None,
    threads: int,
) -> None:
    """Writes labels int64 (H, W), and where wanted confidence (H, W) and scores (K, H, W), of a
    float32 grid (K, h, w); the GIL is released."""
    check(
        library().sovs_decide(
            *grid_shape, grid, *size, int(logits), labels, confidence, scores, threads
        )
    )

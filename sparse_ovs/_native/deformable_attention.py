"""Multi-scale deformable attention over contiguous fp32 values; arguments are addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from sparse_ovs._native.loading import check, library
from sparse_ovs._native.structures import DeformableParams


def deformable_attention(
    sizes: tuple[int, int, int, int, int],
    shapes: Sequence[tuple[int, int]],
    values: int,
    locations: int,
    weights: int,
    out: int,
    threads: int,
) -> None:
    """Writes out (n, queries, heads, depth); the GIL is released.

    Args:
        sizes: n, queries, heads, depth (channels of a head), points (in each level).
        shapes: height and width of each level.
    """
    params = _params(sizes, shapes)
    check(
        library().sovs_deformable_attention(
            ctypes.byref(params), values, locations, weights, out, threads
        )
    )


def deformable_attention_around(
    sizes: tuple[int, int, int, int, int],
    shapes: Sequence[tuple[int, int]],
    values: int,
    reference_images: int,
    references: int,
    offsets: int,
    logits: int,
    out: int,
    threads: int,
) -> None:
    """The same from what a network says of each query, see sovs_deformable_attention_around.

    Args:
        reference_images: n, or 1 where all images share the references.
    """
    params = _params(sizes, shapes)
    check(
        library().sovs_deformable_attention_around(
            ctypes.byref(params),
            values,
            reference_images,
            references,
            offsets,
            logits,
            out,
            threads,
        )
    )


def _params(
    sizes: tuple[int, int, int, int, int], shapes: Sequence[tuple[int, int]]
) -> DeformableParams:
    flat = (ctypes.c_int64 * (2 * len(shapes)))(*[size for shape in shapes for size in shape])
    n, queries, heads, depth, points = sizes
    return DeformableParams(n, queries, heads, depth, len(shapes), points, flat)

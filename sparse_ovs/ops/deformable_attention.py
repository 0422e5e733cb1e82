"""sparse_ovs::deformable_attention: sums of bilinear samples from a pyramid of maps.

The native kernel serves inference in float32 on the CPU. Where a gradient is needed the torch form
runs forward too: backward needs the samples of each level, which only that form keeps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.ops.layout import empty_output
from sparse_ovs.threads import get_num_threads

# Asked once: this module's functions are traced by compilers, which cannot follow the loading.
_MISSING_LIBRARY = _native.unavailable_reason()

torch.library.define(
    "sparse_ovs::deformable_attention",
    "(Tensor values, SymInt[] heights, SymInt[] widths, Tensor locations, Tensor weights) "
    "-> Tensor",
    tags=(torch.Tag.needs_fixed_stride_order,),
)
torch.library.define(
    "sparse_ovs::deformable_attention_around",
    "(Tensor values, SymInt[] heights, SymInt[] widths, Tensor references, Tensor offsets, "
    "Tensor logits) -> Tensor",
    tags=(torch.Tag.needs_fixed_stride_order,),
)


def deformable_attention(
    values: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Multi-scale deformable attention (Zhu et al., Deformable DETR, arXiv 2010.04159, eq. 3).

    For each query and head: the sum over levels and points of weight * the bilinear sample of the
    level's map at the point's location. Cell (i, j) of a map of h rows and w columns has its centre
    at x = (j + 0.5) / w, y = (i + 0.5) / h; zeros lie around the maps; a location that is not
    finite gives NaN. Differentiable in all tensors; computed in float32 or float64, also under
    autocast.

    Args:
        values: (N, S, H, D), S cells: the levels one after the other, each row by row.
        shapes: (h, w) of each of L levels.
        locations: (N, Q, H, L, P, 2), as (x, y) in [0, 1] within the map.
        weights: (N, Q, H, L, P), which a softmax made.

    Returns:
        (N, Q, H * D), of the dtype of values.

    Raises:
        ValueError: tensors that do not fit each other or the shapes, or a level without cells.
        TypeError: tensors that are not of floating point.
    """
    _check(values, shapes, locations, weights)
    if not _serves(values, locations, weights):
        return deformable_attention_reference(values, shapes, locations, weights)
    heights, widths = [h for h, _ in shapes], [w for _, w in shapes]
    return torch.ops.sparse_ovs.deformable_attention(values, heights, widths, locations, weights)


def deformable_attention_around(
    values: Tensor,
    shapes: Sequence[tuple[int, int]],
    references: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """deformable_attention from what a network says of each query: at references + offsets, with
    the softmax of the logits over all levels and points as weights. The kernel makes both as it
    reads them.

    Args:
        values, shapes: see deformable_attention.
        references: (N or 1, Q, L, 2), where each query is in each map, as (x, y) in [0, 1].
        offsets: (N, Q, H, L, P, 2), as (x, y) in cells of the map.
        logits: (N, Q, H, L, P).

    Returns:
        (N, Q, H * D), of the dtype of values.

    Raises:
        ValueError, TypeError: as deformable_attention.
    """
    _check(values, shapes, offsets, logits, "offsets", "logits")
    _check_references(references, logits)
    if not _serves(values, references, offsets, logits):
        locations, weights = deformable_places(shapes, references, offsets, logits)
        return deformable_attention_reference(values, shapes, locations, weights)
    heights, widths = [h for h, _ in shapes], [w for _, w in shapes]
    return torch.ops.sparse_ovs.deformable_attention_around(
        values, heights, widths, references, offsets, logits
    )


def deformable_places(
    shapes: Sequence[tuple[int, int]], references: Tensor, offsets: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor]:
    """What deformable_attention_around samples, as deformable_attention takes it: locations
    (N, Q, H, L, P, 2) and weights (N, Q, H, L, P); the same arguments."""
    sizes = offsets.new_tensor([(w, h) for h, w in shapes])
    locations = references[:, :, None, :, None] + offsets / sizes[:, None]
    return locations, logits.flatten(-2).softmax(-1).view_as(logits)


def _serves(*tensors: Tensor) -> bool:
    """Whether the kernel does: it takes these tensors and none needs a gradient."""
    needs_gradient = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return not needs_gradient and not deformable_attention_unsupported(*tensors)


def deformable_attention_unsupported(*tensors: Tensor) -> list[str]:
    """Reasons why no kernel serves these tensors; empty if one does."""
    reasons = []
    for device in sorted({t.device.type for t in tensors} - {"cpu"}):
        reasons.append(f"{device} has no kernel yet")
    if not reasons and _MISSING_LIBRARY:
        reasons.append(_MISSING_LIBRARY)
    for dtype in sorted({str(t.dtype).removeprefix("torch.") for t in tensors} - {"float32"}):
        reasons.append(f"{dtype} has no CPU kernel")
    if any(t.numel() == 0 for t in tensors):
        reasons.append("empty tensors have no kernel")
    return reasons


def deformable_attention_reference(
    values: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """deformable_attention in torch's own operations, for any device and dtype."""
    n, _, heads, depth = values.shape
    queries, points = weights.shape[1], weights.shape[4]
    dtype = torch.promote_types(values.dtype, torch.float32)
    with torch.autocast(values.device.type, enabled=False):
        # (N * H, D, S), (L, N * H, Q, P, 2), (L, N * H, 1, Q, P)
        maps = values.to(dtype).permute(0, 2, 3, 1).reshape(n * heads, depth, -1)
        grids = 2.0 * locations.to(dtype).permute(3, 0, 2, 1, 4, 5) - 1.0
        grids = grids.reshape(len(shapes), n * heads, queries, points, 2)
        shares = weights.to(dtype).permute(3, 0, 2, 1, 4)
        shares = shares.reshape(len(shapes), n * heads, 1, queries, points)
        out = maps.new_zeros(n * heads, depth, queries)
        levels = maps.split([h * w for h, w in shapes], dim=2)
        for (h, w), level, grid, share in zip(shapes, levels, grids, shares, strict=True):
            samples = F.grid_sample(level.unflatten(2, (h, w)), grid, align_corners=False)
            out = out + (samples * share).sum(-1)
    return out.reshape(n, heads * depth, queries).transpose(1, 2).to(values.dtype)


def _check(
    values: Tensor,
    shapes: Sequence[tuple[int, int]],
    places: Tensor,
    shares: Tensor,
    places_name: str = "locations",
    shares_name: str = "weights",
) -> None:
    if values.dim() != 4:
        raise ValueError(f"expected values (N, S, H, D), got {tuple(values.shape)}")
    if not shapes or any(h < 1 or w < 1 for h, w in shapes):
        raise ValueError(f"expected levels of at least 1 cell, got shapes {list(shapes)}")
    n, cells, heads, _ = values.shape
    wanted = sum(h * w for h, w in shapes)
    if cells != wanted:
        raise ValueError(f"expected values of {wanted} cells, got {cells}")
    if shares.dim() != 5 or (n, heads, len(shapes)) != (shares.shape[0], *shares.shape[2:4]):
        raise ValueError(
            f"expected {shares_name} ({n}, Q, {heads}, {len(shapes)}, P), got {tuple(shares.shape)}"
        )
    if tuple(places.shape) != (*shares.shape, 2):
        raise ValueError(f"expected {places_name} {(*shares.shape, 2)}, got {tuple(places.shape)}")
    for tensor in (values, places, shares):
        if not tensor.is_floating_point():
            raise TypeError(f"expected tensors of floating point, got {tensor.dtype}")


def _check_references(references: Tensor, logits: Tensor) -> None:
    n, queries, _, levels, _ = logits.shape
    if tuple(references.shape) not in {(k, queries, levels, 2) for k in (1, n)}:
        raise ValueError(
            f"expected references ({n} or 1, {queries}, {levels}, 2), got {tuple(references.shape)}"
        )
    if not references.is_floating_point():
        raise TypeError(f"expected tensors of floating point, got {references.dtype}")


@torch.library.register_fake("sparse_ovs::deformable_attention")
def _fake(
    values: Tensor, heights: list[int], widths: list[int], locations: Tensor, weights: Tensor
) -> Tensor:
    n, _, heads, depth = values.shape
    return values.new_empty(n, weights.shape[1], heads * depth)


@torch.library.impl("sparse_ovs::deformable_attention", "CPU")
def _cpu(
    values: Tensor, heights: list[int], widths: list[int], locations: Tensor, weights: Tensor
) -> Tensor:
    shapes = list(zip(heights, widths, strict=True))
    _check(values, shapes, locations, weights)
    _require_kernel(values, locations, weights)
    values, locations, weights = (t.contiguous() for t in (values, locations, weights))
    sizes, out = _sizes_and_output(values, weights)
    _native.deformable_attention(
        sizes,
        shapes,
        values.data_ptr(),
        locations.data_ptr(),
        weights.data_ptr(),
        out.data_ptr(),
        get_num_threads(),
    )
    return out


@torch.library.register_fake("sparse_ovs::deformable_attention_around")
def _fake_around(
    values: Tensor,
    heights: list[int],
    widths: list[int],
    references: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    n, _, heads, depth = values.shape
    return values.new_empty(n, logits.shape[1], heads * depth)


@torch.library.impl("sparse_ovs::deformable_attention_around", "CPU")
def _cpu_around(
    values: Tensor,
    heights: list[int],
    widths: list[int],
    references: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    shapes = list(zip(heights, widths, strict=True))
    _check(values, shapes, offsets, logits, "offsets", "logits")
    _check_references(references, logits)
    _require_kernel(values, references, offsets, logits)
    values, references, offsets, logits = (
        t.contiguous() for t in (values, references, offsets, logits)
    )
    sizes, out = _sizes_and_output(values, logits)
    _native.deformable_attention_around(
        sizes,
        shapes,
        values.data_ptr(),
        len(references),
        references.data_ptr(),
        offsets.data_ptr(),
        logits.data_ptr(),
        out.data_ptr(),
        get_num_threads(),
    )
    return out


def _require_kernel(*tensors: Tensor) -> None:
    reasons = deformable_attention_unsupported(*tensors)
    if reasons:
        raise ValueError(f"expected tensors that the kernel reads, got: {'; '.join(reasons)}")


def _sizes_and_output(
    values: Tensor, weights: Tensor
) -> tuple[tuple[int, int, int, int, int], Tensor]:
    n, _, heads, depth = values.shape
    queries, points = weights.shape[1], weights.shape[4]
    out = empty_output((n, queries, heads * depth), torch.contiguous_format)
    return (n, queries, heads, depth, points), out

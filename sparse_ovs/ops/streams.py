"""What the ops remember of a layer: the library's copy of its weights, and its plans."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from sparse_ovs._native import ConvPlan, NativeWeights
from sparse_ovs.ops.by_structure import ByStructure
from sparse_ovs.ops.versions import version_of

# Input shapes that a layer keeps plans for; a plan holds a stream expanded for its tiles.
_PLANS_KEPT = 4


def _check_parts(
    weight: Tensor,
    bias: Tensor | None,
    norm: Sequence[Tensor],
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
) -> None:
    """Raises TypeError or ValueError where the library would read past a tensor or misread it."""
    out_channels = weight.shape[0]
    vectors = {"bias": bias} if bias is not None else {}
    vectors |= dict(zip(("gamma", "beta", "mean", "var"), norm, strict=bool(norm)))
    for name, tensor in {"weight": weight, **vectors}.items():
        if tensor.dtype != torch.float32:
            raise TypeError(f"expected a float32 {name}, got {tensor.dtype}")
    for name, tensor in vectors.items():
        if tuple(tensor.shape) != (out_channels,):
            raise ValueError(
                f"expected a {name} of shape ({out_channels},), got {tuple(tensor.shape)}"
            )
    if indices.dtype not in (torch.uint16, torch.int16, torch.int32):
        raise TypeError(f"expected indices of 16 or 32 bits, got {indices.dtype}")
    if row_ptr.dtype != torch.int32:
        raise TypeError(f"expected an int32 row_ptr, got {row_ptr.dtype}")
    if block_rows not in (1, 4):
        raise ValueError(f"expected block_rows of 1 or 4, got {block_rows}")
    ends = -(-out_channels // block_rows) + 1
    if row_ptr.numel() != ends or int(row_ptr[-1]) != indices.numel():
        raise ValueError(
            f"expected a row_ptr of {ends} entries, the last one {indices.numel()}, "
            f"got {row_ptr.numel()} entries: ...{row_ptr[-2:].tolist()}"
        )


def _gather(weight: Tensor, indices: Tensor, row_ptr: Tensor, block_rows: int) -> Tensor:
    """Values (blocks, block_rows) of a dense weight (O, I, kh, kw) at the packed structure's
    places."""
    out_channels, in_channels = weight.shape[:2]
    taps = weight[0, 0].numel()
    columns = indices.to(torch.int64)
    if indices.dtype == torch.int16:
        columns &= 0xFFFF  # the bits of a uint16
    block_row = torch.repeat_interleave(
        torch.arange(row_ptr.numel() - 1), row_ptr.diff().to(torch.int64)
    )
    row = block_row[:, None] * block_rows + torch.arange(block_rows)
    place = (row * in_channels + (columns % in_channels)[:, None]) * taps
    place += (columns // in_channels)[:, None]
    inside = row < out_channels  # the last block row may reach past the weight
    values = weight.reshape(-1)[torch.where(inside, place, 0)]
    return torch.where(inside, values, 0.0)


def fold_norm(
    bias: Tensor | None, norm: Sequence[Tensor], eps: float, out_channels: int
) -> tuple[Tensor, Tensor]:
    """Scale and bias (O,) that turn conv(x) into norm(conv(x) + bias) for an eval-mode
    BatchNorm."""
    gamma, beta, mean, var = norm
    scale = gamma / torch.sqrt(var + eps)
    shift = mean if bias is None else mean - bias
    return scale, beta - shift * scale


class LayerStreams:
    """The native weights of one packed structure, refreshed when a tensor they come from was
    written to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: Hashable = None
        self._weights: NativeWeights | None = None
        self._plans: OrderedDict[Hashable, ConvPlan] = OrderedDict()

    def plan(
        self,
        weight: Tensor,
        bias: Tensor | None,
        norm: Sequence[Tensor],
        eps: float,
        indices: Tensor,
        row_ptr: Tensor,
        block_rows: int,
        groups: int,
        key: Hashable,
        build: Callable[[NativeWeights], ConvPlan],
    ) -> ConvPlan:
        """The plan for `key` over up-to-date weights; `build` makes it where none is kept."""
        sources = [weight, *([] if bias is None else [bias]), *norm]
        versions = (*map(version_of, sources), len(norm), eps)
        with self._lock:
            if versions != self._versions or self._weights is None:
                self._weights = self._pack(
                    weight, bias, norm, eps, indices, row_ptr, block_rows, groups
                )
                self._versions = versions
                self._plans.clear()
            plan = self._plans.get(key)
            if plan is None:
                plan = self._plans[key] = build(self._weights)
                if len(self._plans) > _PLANS_KEPT:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(key)
            return plan

    @staticmethod
    def _pack(
        weight: Tensor,
        bias: Tensor | None,
        norm: Sequence[Tensor],
        eps: float,
        indices: Tensor,
        row_ptr: Tensor,
        block_rows: int,
        groups: int,
    ) -> NativeWeights:
        _check_parts(weight, bias, norm, indices, row_ptr, block_rows)
        with torch.no_grad():
            weight4 = weight.detach()
            if weight4.dim() == 2:
                weight4 = weight4[:, :, None, None]
            if norm:
                scale, bias = fold_norm(bias, norm, eps, weight4.shape[0])
                weight4 = weight4 * scale[:, None, None, None]
            values = _gather(weight4, indices, row_ptr, block_rows).contiguous()
            bias = None if bias is None else bias.detach().contiguous()
        index_bits = 8 * indices.element_size()
        return NativeWeights(
            tuple(weight4.shape),  # type: ignore[arg-type]
            groups,
            block_rows,
            row_ptr.data_ptr(),
            indices.data_ptr(),
            index_bits,
            values.data_ptr(),
            None if bias is None else bias.data_ptr(),
        )

    def forget(self) -> None:
        """Makes the next call pack again."""
        with self._lock:
            self._versions = None

    def after_fork(self) -> None:
        """In a forked child: what another thread was doing at the fork stays half done for ever."""
        if self._lock.locked():
            self._lock = threading.Lock()
            self._versions = None

    def nbytes(self) -> int:
        """Bytes that the library holds for this layer now."""
        with self._lock:
            return 0 if self._weights is None else self._weights.nbytes()


_streams = ByStructure(LayerStreams)


def streams_of(indices: Tensor) -> LayerStreams:
    """The streams kept for a packed structure, made at its first use."""
    return _streams.of(indices)


def _after_fork() -> None:
    _streams.after_fork()
    for layer in _streams.all():
        layer.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def stream_bytes(indices: Tensor) -> int:
    """Bytes that the library holds for a packed structure: compact copy and expanded streams."""
    return streams_of(indices).nbytes()

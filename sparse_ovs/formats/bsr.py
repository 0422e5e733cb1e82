"""Block-sparse rows (BSR) of a weight, for the tensor-core kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.formats.invariants import check_part, check_weight_shape, mask_or_nonzeros
from sparse_ovs.patterns import flatten_tap_major, unflatten_tap_major

_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True, eq=False)
class BsrTranspose:
    """The same blocks by input-channel block, for the gradient of the input; int32 tensors.

    Attributes:
        row_ptr: (ceil(I / C) + 1,): channel block c has the entries row_ptr[c]:row_ptr[c + 1].
        blocks: (blocks,) which block of `BsrWeight.values` an entry is; ascending in each group.
        rows: (blocks,) its block row.
        taps: (blocks,) its tap.
    """

    row_ptr: Tensor
    blocks: Tensor
    rows: Tensor
    taps: Tensor


@dataclass(frozen=True, eq=False)
class BsrWeight:
    """A weight (O, I, *kernel) as dense blocks of R output x C input channels at one tap.

    The tap-major weight (O, taps, I) is cut into blocks; where C does not divide I, the last block
    of *each tap* is filled up with zeros, as is the last block row where R does not divide O.

    Attributes:
        values: (blocks, R, C) float16, bfloat16 or float32.
        row_ptr: (ceil(O / R) + 1,) int32: block row r has the blocks row_ptr[r]:row_ptr[r + 1].
        taps: (blocks,) int32, y * kw + x of each block; 0 for linears.
        channels: (blocks,) int32, the input-channel block of each. (tap, channels) ascend in each
            block row, which is the order of sums.
        shape: of the dense weight as torch stores it, (O, I, *kernel) or (O, I).

    Raises:
        TypeError, ValueError: at construction, where a tensor breaks one of these rules.
    """

    values: Tensor
    row_ptr: Tensor
    taps: Tensor
    channels: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        check_weight_shape(self.shape)
        if self.values.dtype not in _DTYPES:
            raise TypeError(
                f"expected values of float16, bfloat16 or float32, got {self.values.dtype}"
            )
        if self.values.dim() != 3 or 0 in self.values.shape[1:]:
            raise ValueError(f"expected values (blocks, R, C), got {tuple(self.values.shape)}")
        blocks = self.values.shape[0]
        expected = {
            "values": (self.values.dtype, tuple(self.values.shape)),
            "row_ptr": (torch.int32, (self.grid[0] + 1,)),
            "taps": (torch.int32, (blocks,)),
            "channels": (torch.int32, (blocks,)),
        }
        for name, (dtype, shape) in expected.items():
            check_part(name, getattr(self, name), dtype, shape, self.values.device)
        self._check_structure()

    def _check_structure(self) -> None:
        blocks = self.values.shape[0]
        _, taps, channel_blocks = self.grid
        ends = self.row_ptr.cpu().long()
        if int(ends[0]) != 0 or int(ends[-1]) != blocks or bool((ends.diff() < 0).any()):
            raise ValueError(
                f"expected row_ptr to rise from 0 to {blocks}, got {ends.tolist()[:8]}..."
            )
        if not blocks:
            return
        for name, limit in (("taps", taps), ("channels", channel_blocks)):
            found: Tensor = getattr(self, name)
            if not 0 <= int(found.min()) <= int(found.max()) < limit:
                raise ValueError(
                    f"expected {name} from 0 to {limit - 1}, "
                    f"got {int(found.min())} to {int(found.max())}"
                )
        place = self.taps.cpu().long() * channel_blocks + self.channels.cpu()
        row = torch.repeat_interleave(torch.arange(ends.numel() - 1), ends.diff())
        if bool(((place.diff() <= 0) & (row.diff() == 0)).any()):
            raise ValueError(
                "expected ascending (tap, channels), each once in a block row, "
                "got some out of order"
            )

    @property
    def block(self) -> tuple[int, int]:
        """(R, C): output and input channels of a block."""
        return self.values.shape[1], self.values.shape[2]

    @property
    def grid(self) -> tuple[int, int, int]:
        """Block rows, taps, and input-channel blocks of a tap."""
        rows, columns = self.block
        return -(-self.shape[0] // rows), prod(self.shape[2:]), -(-self.shape[1] // columns)

    @property
    def density(self) -> float:
        """Stored slots that lie inside the weight, as a fraction of the dense weight."""
        return float(self.mask().sum()) / prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of values and structure; the transpose, made on demand, is not counted."""
        tensors = (self.values, self.row_ptr, self.taps, self.channels)
        return sum(t.numel() * t.element_size() for t in tensors)

    @cached_property
    def block_rows(self) -> Tensor:
        """(blocks,) int32: the block row of each block."""
        rows = torch.arange(self.grid[0], dtype=torch.int32, device=self.row_ptr.device)
        # With the size given, no GPU is waited for.
        return torch.repeat_interleave(
            rows, self.row_ptr.long().diff(), output_size=self.values.shape[0]
        )

    @cached_property
    def transpose(self) -> BsrTranspose:
        """The same blocks grouped by input-channel block, then in ascending (row, tap)."""
        order = self.channels.long().sort(stable=True).indices
        counts = torch.bincount(self.channels.long(), minlength=self.grid[2])
        return BsrTranspose(
            row_ptr=F.pad(counts.cumsum(0), (1, 0)).to(torch.int32),
            blocks=order.to(torch.int32),
            rows=self.block_rows[order].contiguous(),
            taps=self.taps[order].contiguous(),
        )

    def to(self, device: torch.device | str | int) -> BsrWeight:
        """The same weight on another device."""
        return BsrWeight(
            self.values.to(device),
            self.row_ptr.to(device),
            self.taps.to(device),
            self.channels.to(device),
            self.shape,
        )

    def gather(self, weight: Tensor) -> Tensor:
        """Values (blocks, R, C) of another weight (O, I, *kernel) in this structure, in its dtype.

        Raises:
            ValueError: a weight of another shape.
        """
        if tuple(weight.shape) != self.shape:
            raise ValueError(f"expected a weight of {self.shape}, got {tuple(weight.shape)}")
        return _blocks_of(weight, self.block)[self._index()].contiguous()

    def scatter(self, values: Tensor) -> Tensor:
        """The dense (O, I, *kernel) of values (blocks, R, C) in this structure, in their dtype.

        Raises:
            ValueError: values of another shape.
        """
        if values.shape != self.values.shape:
            raise ValueError(
                f"expected values of {tuple(self.values.shape)}, got {tuple(values.shape)}"
            )
        rows, taps, channel_blocks = self.grid
        height, width = self.block
        out_channels, in_channels = self.shape[:2]
        blocks = values.new_zeros(rows, taps, channel_blocks, height, width)
        blocks[self._index()] = values
        # (rows, taps, channel blocks, R, C) -> (O, taps, I)
        whole = blocks.permute(0, 3, 1, 2, 4).reshape(rows * height, taps, channel_blocks * width)
        matrix = whole[:out_channels, :, :in_channels].reshape(out_channels, -1)
        return unflatten_tap_major(matrix, self.shape)

    def to_dense(self) -> Tensor:
        """The dense weight of `shape`: exactly the values that were packed."""
        return self.scatter(self.values)

    def mask(self) -> Tensor:
        """bool of `shape`: True where a slot is stored."""
        return self.scatter(torch.ones_like(self.values, dtype=torch.bool))

    def _index(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.block_rows.long(), self.taps.long(), self.channels.long()


def pack_bsr(
    weight: Tensor, mask: Tensor | None = None, block: tuple[int, int] = (64, 64)
) -> BsrWeight:
    """Packs a dense weight into the blocks that a mask touches.

    Any mask will do; one of whole blocks (pattern "blockRxC", C a divisor of I) stores nothing but
    its own weights.

    Args:
        weight: (O, I, *kernel) or (O, I), float16, bfloat16 or float32.
        mask: bool of the same shape, on the same device: weights to keep; the others are stored as
            0 where a kept one lies in their block. None keeps those that are not zero (-0.0 is).
        block: (R, C).

    Raises:
        TypeError: weight or mask of another dtype.
        ValueError: shapes that differ, or a block without rows or columns.
    """
    if weight.dtype not in _DTYPES:
        raise TypeError(f"expected a float16, bfloat16 or float32 weight, got {weight.dtype}")
    mask = mask_or_nonzeros(weight, mask)
    if len(block) != 2 or min(block) < 1:
        raise ValueError(f"expected a block (R, C) of at least 1 x 1, got {block!r}")

    kept = blocks_touched(mask, block)
    row, tap, channels = kept.nonzero(as_tuple=True)
    stored = _blocks_of(torch.where(mask, weight.detach(), 0), block)[row, tap, channels]
    return BsrWeight(
        values=stored.contiguous(),
        row_ptr=F.pad(kept.sum((1, 2)).cumsum(0), (1, 0)).to(torch.int32),
        taps=tap.to(torch.int32),
        channels=channels.to(torch.int32),
        shape=tuple(weight.shape),
    )


def blocks_touched(mask: Tensor, block: tuple[int, int]) -> Tensor:
    """bool (block rows, taps, channel blocks): where a mask (O, I, *kernel) keeps anything."""
    return _blocks_of(mask, block).any(-1).any(-1)


def _blocks_of(weight: Tensor, block: tuple[int, int]) -> Tensor:
    """(O, I, *kernel) -> (block rows, taps, channel blocks, R, C), filled up with zeros."""
    rows, columns = block
    out_channels, in_channels = weight.shape[:2]
    matrix = flatten_tap_major(weight).reshape(out_channels, -1, in_channels)  # (O, taps, I)
    padded = F.pad(matrix, (0, -in_channels % columns, 0, 0, 0, -out_channels % rows))
    return padded.unflatten(2, (-1, columns)).unflatten(0, (-1, rows)).permute(0, 2, 3, 1, 4)

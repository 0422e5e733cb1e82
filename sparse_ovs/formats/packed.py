"""The packed CPU format: rows of kept weights, or of blocks of a few output channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.formats.invariants import check_part, check_weight_shape, mask_or_nonzeros
from sparse_ovs.patterns import flatten_tap_major, unflatten_tap_major

# 16-bit columns reach this many.
_MAX_COLUMNS_16 = 1 << 16
# Blocks of several rows pay where at least this share of their slots is kept.
_BLOCK_FILL = 0.9
# How many output channels may share their columns, by the type of the weights.
_BLOCK_ROWS = {torch.float32: (1, 4), torch.int8: (1, 2, 4)}


@dataclass(frozen=True, eq=False)
class PackedWeight:
    """A sparse weight as plain tensors; holds no spatial offsets, so one serves every input size.

    Attributes:
        values: (blocks, block_rows) float32, or int8 where scales that others hold go with them.
            Rows past the weight, in the last block row, hold 0.
        indices: (blocks,) columns in the tap-major flattened (*kernel, I): uint16 where all fit,
            else int32; ascending in each block row.
        row_ptr: (ceil(O / block_rows) + 1,) int32: the blocks of block row r are
            row_ptr[r]:row_ptr[r + 1].
        shape: of the dense weight as torch stores it, (O, I, *kernel) or (O, I).
        block_rows: 1, or 4 output channels that share their columns, of int8 also 2.

    Raises:
        TypeError, ValueError: at construction, where a tensor breaks one of these rules.
    """

    values: Tensor
    indices: Tensor
    row_ptr: Tensor
    shape: tuple[int, ...]
    block_rows: int

    def __post_init__(self) -> None:
        if self.values.dtype not in _BLOCK_ROWS:
            raise TypeError(f"expected values of dtype torch.float32, got {self.values.dtype}")
        _check_block_rows(self.values.dtype, self.block_rows)
        check_weight_shape(self.shape)
        index_type = torch.uint16 if self.columns <= _MAX_COLUMNS_16 else torch.int32
        blocks = self.indices.numel()
        block_row_count = -(-self.shape[0] // self.block_rows)
        expected = {
            "values": (self.values.dtype, (blocks, self.block_rows)),
            "indices": (index_type, (blocks,)),
            "row_ptr": (torch.int32, (block_row_count + 1,)),
        }
        for name, (dtype, shape) in expected.items():
            check_part(name, getattr(self, name), dtype, shape)
        self._check_structure(blocks)

    def _check_structure(self, blocks: int) -> None:
        ends = self.row_ptr.to(torch.int64)
        if int(ends[0]) != 0 or int(ends[-1]) != blocks or bool((ends.diff() < 0).any()):
            raise ValueError(
                f"expected row_ptr to rise from 0 to {blocks}, got {ends.tolist()[:8]}..."
            )
        columns = self.indices.to(torch.int64)
        if blocks and not 0 <= int(columns.min()) <= int(columns.max()) < self.columns:
            raise ValueError(
                f"expected indices from 0 to {self.columns - 1}, "
                f"got {int(columns.min())} to {int(columns.max())}"
            )
        row = torch.repeat_interleave(torch.arange(ends.numel() - 1), ends.diff())
        if bool(((columns.diff() <= 0) & (row.diff() == 0)).any()):
            raise ValueError(
                "expected ascending indices, each once in a row, got some out of order"
            )

    @property
    def columns(self) -> int:
        """Columns of the flattened weight."""
        return prod(self.shape[1:])

    @property
    def density(self) -> float:
        """Stored slots that lie inside the weight, as a fraction of the dense weight."""
        return float(self.mask().sum()) / prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the three tensors."""
        return sum(t.numel() * t.element_size() for t in (self.values, self.indices, self.row_ptr))

    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row and column (blocks, block_rows) of every slot, and which slots lie inside the
        weight."""
        block_row = torch.repeat_interleave(
            torch.arange(self.row_ptr.numel() - 1), self.row_ptr.to(torch.int64).diff()
        )
        row = block_row[:, None] * self.block_rows + torch.arange(self.block_rows)
        column = self.indices.to(torch.int64)[:, None].expand_as(row)
        return row, column, row < self.shape[0]

    def to_dense(self) -> Tensor:
        """The dense weight of `shape`: exactly the values that were packed, of their dtype."""
        row, column, inside = self._places()
        matrix = torch.zeros(self.shape[0], self.columns, dtype=self.values.dtype)
        matrix[row[inside], column[inside]] = self.values[inside]
        return unflatten_tap_major(matrix, self.shape)

    def mask(self) -> Tensor:
        """bool of `shape`: True where a slot is stored."""
        row, column, inside = self._places()
        matrix = torch.zeros(self.shape[0], self.columns, dtype=torch.bool)
        matrix[row[inside], column[inside]] = True
        return unflatten_tap_major(matrix, self.shape)


def pack(
    weight: Tensor, mask: Tensor | None = None, block_rows: int | None = None, groups: int = 1
) -> PackedWeight:
    """Packs a dense weight.

    Args:
        weight: (O, I, *kernel) or (O, I), float32 or int8 on the CPU.
        mask: bool of the same shape: weights to store, zero or not; None stores those that are not
            zero (-0.0 is).
        block_rows: 1 or 4, of int8 also 2; None takes the most of which at least 90 % of the slots
            of the blocks needed are kept.
        groups: of the convolution whose weight it is: where block_rows is None, no block straddles
            two.

    Raises:
        TypeError: weight or mask of another dtype.
        ValueError: shapes that differ.
    """
    if weight.dtype not in _BLOCK_ROWS:
        raise TypeError(f"expected a float32 weight, got {weight.dtype}")
    mask = mask_or_nonzeros(weight, mask)
    if block_rows is None:
        rows = weight.shape[0] // groups  # a block must not straddle two groups
        choices = [n for n in _BLOCK_ROWS[weight.dtype] if groups == 1 or rows % n == 0]
        block_rows = _filled_block_rows(flatten_tap_major(mask), choices)
    _check_block_rows(weight.dtype, block_rows)

    kept = flatten_tap_major(mask)
    values = flatten_tap_major(weight.detach()) * kept
    blocks = _blocks_of(kept, block_rows).any(1)  # (block rows, K)
    block_row, column = blocks.nonzero(as_tuple=True)
    row_ptr = F.pad(blocks.sum(1).cumsum(0), (1, 0)).to(torch.int32)
    index_type = torch.uint16 if kept.shape[1] <= _MAX_COLUMNS_16 else torch.int32
    stored = _blocks_of(values, block_rows)[block_row, :, column]  # (blocks, block_rows)
    return PackedWeight(
        stored.contiguous(), column.to(index_type), row_ptr, tuple(weight.shape), block_rows
    )


def _filled_block_rows(kept: Tensor, choices: Sequence[int]) -> int:
    """The most rows among the choices, 1 among them, whose blocks a bool matrix (O, K) fills."""
    count = int(kept.sum())

    def pays(rows: int) -> bool:
        slots = rows * int(_blocks_of(kept, rows).any(1).sum())
        return slots > 0 and count >= _BLOCK_FILL * slots

    return next(rows for rows in reversed(choices) if rows == 1 or pays(rows))


def _check_block_rows(dtype: torch.dtype, block_rows: int) -> None:
    choices = _BLOCK_ROWS[dtype]
    if block_rows not in choices:
        *most, last = choices
        raise ValueError(
            f"expected block_rows of {', '.join(map(str, most))} or {last}, got {block_rows!r}"
        )


def _blocks_of(matrix: Tensor, rows: int) -> Tensor:
    """(O, K) -> (ceil(O / rows), rows, K), filled up with zeros."""
    return F.pad(matrix, (0, 0, 0, -matrix.shape[0] % rows)).unflatten(0, (-1, rows))

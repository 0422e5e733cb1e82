"""CSR with row swizzle: single kept weights by output channel, for GPU kernels without tensor
cores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.formats.invariants import check_part, check_weight_shape
from sparse_ovs.formats.kept import STORED_DTYPES, kept_weights
from sparse_ovs.patterns import unflatten_tap_major

# Kernels read up to this many entries at once; the arrays end at a multiple of it.
ENTRY_VECTOR = 8


@dataclass(frozen=True, eq=False)
class CsrWeight:
    """A sparse weight as plain tensors, all on one device.

    Attributes:
        values: (stored,) float32, float16 or bfloat16: the kept weights row by row, then zeros up
            to a multiple of 8, so that aligned 16-byte loads never leave the array.
        columns: (stored,) int32: tap-major columns (*kernel, I), ascending in each row; then zeros.
        row_ptr: (O + 1,) int32: row r is row_ptr[r]:row_ptr[r + 1].
        row_order: (O,) int32: the rows, longest first. Rows that run side by side are then of about
            the same length (row swizzle, Gale et al. 2020, "Sparse GPU kernels for deep learning").
        shape: of the dense weight as torch stores it, (O, I, *kernel) or (O, I).

    Raises:
        TypeError, ValueError: at construction, where a tensor breaks one of these rules.
    """

    values: Tensor
    columns: Tensor
    row_ptr: Tensor
    row_order: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        check_weight_shape(self.shape)
        if self.values.dtype not in STORED_DTYPES:
            raise TypeError(
                f"expected values of float32, float16 or bfloat16, got {self.values.dtype}"
            )
        stored, rows = self.values.numel(), self.shape[0]
        expected = {
            "values": (self.values.dtype, stored),
            "columns": (torch.int32, stored),
            "row_ptr": (torch.int32, rows + 1),
            "row_order": (torch.int32, rows),
        }
        for name, (dtype, length) in expected.items():
            check_part(name, getattr(self, name), dtype, (length,), self.values.device)
        self._check_structure()

    def _check_structure(self) -> None:
        stored, ends = self.values.numel(), self.row_ptr.long()
        lengths = ends.diff()
        kept = int(ends[-1])
        if int(ends[0]) != 0 or bool((lengths < 0).any()) or stored != _padded(kept):
            raise ValueError(
                f"expected row_ptr to rise from 0 to the count of stored entries without padding "
                f"to {ENTRY_VECTOR}, got {ends[:8].tolist()}... for {stored}"
            )
        columns = self.columns[:kept].long()
        if kept and not 0 <= int(columns.min()) <= int(columns.max()) < self.matrix_columns:
            raise ValueError(
                f"expected columns from 0 to {self.matrix_columns - 1}, "
                f"got {int(columns.min())} to {int(columns.max())}"
            )
        row = self._rows()
        if bool(((columns.diff() <= 0) & (row.diff() == 0)).any()):
            raise ValueError(
                "expected ascending columns, each once in a row, got some out of order"
            )
        if bool(self.values[kept:].any()) or bool(self.columns[kept:].any()):
            raise ValueError("expected zeros past the last row, got others")
        order = self.row_order.long()
        if not torch.equal(order.sort().values, torch.arange(len(order), device=order.device)):
            raise ValueError(f"expected row_order to name every row once, got {order.tolist()}")
        if bool((lengths[order].diff() > 0).any()):
            raise ValueError("expected row_order with the longest rows first, got another order")

    @property
    def matrix_columns(self) -> int:
        """Columns of the flattened weight."""
        return prod(self.shape[1:])

    @property
    def kept(self) -> int:
        """How many weights are stored, padding not counted."""
        return int(self.row_ptr[-1])

    @property
    def density(self) -> float:
        """Stored weights as a fraction of the dense weight."""
        return self.kept / prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the four tensors."""
        tensors = (self.values, self.columns, self.row_ptr, self.row_order)
        return sum(t.numel() * t.element_size() for t in tensors)

    def to(self, device: torch.device | str) -> CsrWeight:
        """The same weight on another device."""
        return replace(
            self,
            values=self.values.to(device),
            columns=self.columns.to(device),
            row_ptr=self.row_ptr.to(device),
            row_order=self.row_order.to(device),
        )

    def to_dense(self) -> Tensor:
        """The dense weight of `shape`, in the dtype of the values."""
        matrix = self.values.new_zeros(self.shape[0], self.matrix_columns)
        matrix[self._rows(), self.columns[: self.kept].long()] = self.values[: self.kept]
        return unflatten_tap_major(matrix, self.shape)

    def mask(self) -> Tensor:
        """bool of `shape`: True where a weight is stored."""
        matrix = self.values.new_zeros(self.shape[0], self.matrix_columns, dtype=torch.bool)
        matrix[self._rows(), self.columns[: self.kept].long()] = True
        return unflatten_tap_major(matrix, self.shape)

    def _rows(self) -> Tensor:
        """(kept,) int64: the row of every stored weight."""
        rows = torch.arange(self.shape[0], device=self.row_ptr.device)
        return torch.repeat_interleave(rows, self.row_ptr.long().diff())


def to_csr(
    weight: Tensor, mask: Tensor | None = None, dtype: torch.dtype | None = None
) -> CsrWeight:
    """Stores the kept weights of a dense weight.

    Args:
        weight: (O, I, *kernel) or (O, I), float32, float16 or bfloat16.
        mask: bool of the same shape: weights to store, zero or not; None stores those that are not
            zero.
        dtype: of the stored values, which are rounded to it; None takes the weight's.

    Raises:
        TypeError, ValueError: see `kept_weights`.
    """
    values, kept = kept_weights(weight, mask, dtype)
    return csr_of_matrix(values, kept, tuple(weight.shape))


def csr_of_matrix(values: Tensor, kept: Tensor, shape: tuple[int, ...]) -> CsrWeight:
    """Stores those entries of a tap-major (O, K) matrix that `kept` (O, K) names."""
    row, column = kept.nonzero(as_tuple=True)
    lengths = kept.sum(1)
    padding = _padded(len(row)) - len(row)
    return CsrWeight(
        F.pad(values[row, column], (0, padding)),
        F.pad(column.to(torch.int32), (0, padding)),
        F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32),
        # Stable: rows of equal length stay in their order, whatever the device.
        lengths.sort(descending=True, stable=True).indices.to(torch.int32),
        shape,
    )


def _padded(count: int) -> int:
    return -(-count // ENTRY_VECTOR) * ENTRY_VECTOR

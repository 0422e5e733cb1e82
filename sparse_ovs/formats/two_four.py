"""2:4 and a residue: any mask for sparse tensor cores, without loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.formats.csr import CsrWeight, csr_of_matrix
from sparse_ovs.formats.invariants import check_part, check_weight_shape
from sparse_ovs.formats.kept import kept_weights
from sparse_ovs.patterns import flatten_tap_major, unflatten_tap_major

# One instruction takes 16 output channels and 32 columns; two share a word of metadata.
ROW_TILE = 16
STEP = 64
_TILE = 32


@dataclass(frozen=True, eq=False)
class TwoFourWeight:
    """A sparse weight as a 2:4 part for `mma.sp.m16n8k32` and the rest in CSR, all on one device.

    Each group of four neighbouring input channels at one tap has two slots. The first two weights
    that the group keeps take them; what else it keeps is in the residue. Input channels may be
    permuted, so that fewer groups overflow: kernels then expect activations whose channel p is the
    original channel channel_order[p].

    Attributes:
        values: (ceil(O / 16), steps, 2, 32, 8) float16 or bfloat16. A step is 64 columns of one
            tap (channels are filled up with zeros), two instructions; last come the 8 values that
            a lane passes to it: registers a0 to a3, two values each.
        metadata: (ceil(O / 16), steps, 32) int32: what a lane passes. Lanes 0 and 1 of each quad
            serve the step's first instruction (selector 0), lanes 2 and 3 the second; low half for
            row lane // 4, high half for row lane // 4 + 8; of each group two 2-bit positions,
            ascending (PTX ISA, "Sparse matrix storage").
        residue: of the same shape and dtype; columns are tap-major in permuted channels.
        channel_order: (I,) int32: the original channel at each permuted place.
        shape: of the dense weight as torch stores it, (O, I, *kernel) or (O, I).

    Raises:
        TypeError, ValueError: at construction, where a tensor breaks one of these rules.
    """

    values: Tensor
    metadata: Tensor
    residue: CsrWeight
    channel_order: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        check_weight_shape(self.shape)
        if self.values.dtype not in (torch.float16, torch.bfloat16):
            raise TypeError(f"expected values of float16 or bfloat16, got {self.values.dtype}")
        if self.residue.values.dtype != self.values.dtype or self.residue.shape != self.shape:
            raise ValueError(
                f"expected a residue of {self.values.dtype} and shape {self.shape}, "
                f"got {self.residue.values.dtype} and {self.residue.shape}"
            )
        rows, steps = -(-self.shape[0] // ROW_TILE), self.steps
        expected = {
            "values": (self.values.dtype, (rows, steps, 2, 32, 8)),
            "metadata": (torch.int32, (rows, steps, 32)),
            "channel_order": (torch.int32, (self.shape[1],)),
        }
        for name, (dtype, shape) in expected.items():
            check_part(name, getattr(self, name), dtype, shape, self.residue.values.device)
        _check_order(self.channel_order, self.shape[1])
        places = _positions(self.metadata)
        if bool((places[..., 0] >= places[..., 1]).any()):
            raise ValueError("expected ascending positions in the metadata, got others")

    @property
    def taps(self) -> int:
        """Taps of the kernel, 1 for a linear layer."""
        return prod(self.shape[2:])

    @property
    def steps(self) -> int:
        """Steps of 64 columns: each lies in one tap."""
        return self.taps * -(-self.shape[1] // STEP)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors that a kernel reads."""
        own = sum(t.numel() * t.element_size() for t in (self.values, self.metadata))
        return own + self.residue.nbytes

    def to(self, device: torch.device | str) -> TwoFourWeight:
        """The same weight on another device."""
        return replace(
            self,
            values=self.values.to(device),
            metadata=self.metadata.to(device),
            residue=self.residue.to(device),
            channel_order=self.channel_order.to(device),
        )

    def to_dense(self) -> Tensor:
        """The dense weight of `shape`, in the dtype of the values and in the original order of its
        channels."""
        compressed = _from_lanes(self.values)  # (rows, groups * 2)
        groups = compressed.unflatten(1, (-1, 2))
        spread = groups.new_zeros(*groups.shape[:2], 4)
        spread.scatter_(2, _positions(self.metadata), groups)
        # Rows and channels that only fill up go; (rows, taps * padded) -> (O, taps, I).
        matrix = spread.flatten(1).unflatten(1, (self.taps, -1))
        matrix = matrix[: self.shape[0], :, : self.shape[1]]
        matrix = matrix + flatten_tap_major(self.residue.to_dense()).view_as(matrix)
        original = torch.zeros_like(matrix)
        original[:, :, self.channel_order.long()] = matrix
        return unflatten_tap_major(original, self.shape)


@dataclass(frozen=True)
class TwoFourFit:
    """How well a mask fits 2:4.

    Attributes:
        groups: groups of four neighbouring input channels at one tap, smaller ones at the end
            included.
        fitting: those that keep at most two.
        kept: weights kept in all.
        residue: those of them that find no slot.
    """

    groups: int
    fitting: int
    kept: int
    residue: int

    @property
    def fitting_share(self) -> float:
        """Groups in 2:4, as a fraction of all."""
        return self.fitting / self.groups

    @property
    def residue_share(self) -> float:
        """Weights in the residue, as a fraction of those kept; 0 where none are."""
        return self.residue / self.kept if self.kept else 0.0


def two_four_fit(mask: Tensor, channel_order: Tensor | None = None) -> TwoFourFit:
    """What a bool mask (O, I, *kernel) leaves to the residue, its channels in the given order.

    Raises:
        TypeError: the mask is not bool.
        ValueError: an order that does not name every channel once.
    """
    counts = _by_row(mask, channel_order)
    counts = F.pad(counts, (0, -counts.shape[1] % 4)).unflatten(1, (-1, 4)).sum(2)
    residue = (counts - 2).clamp(min=0)
    return TwoFourFit(
        counts.numel(), int((counts <= 2).sum()), int(counts.sum()), int(residue.sum())
    )


def to_two_four(
    weight: Tensor,
    mask: Tensor | None = None,
    dtype: torch.dtype = torch.float16,
    channel_order: Tensor | None = None,
) -> TwoFourWeight:
    """Stores the kept weights of a dense weight.

    Args:
        weight: (O, I, *kernel) or (O, I), float32, float16 or bfloat16.
        mask: bool of the same shape: weights to store, zero or not; None stores those that are not
            zero.
        dtype: float16 or bfloat16; values are rounded to it.
        channel_order: (I,) integers: which input channel goes to each place, such as
            `find_channel_order` gives; None leaves them where they are.

    Raises:
        TypeError, ValueError: see `kept_weights`; another dtype, or an order that does not name
            every channel once.
    """
    if dtype not in (torch.float16, torch.bfloat16):
        raise TypeError(f"expected values of float16 or bfloat16, got {dtype}")
    values, kept = kept_weights(weight, mask, dtype)
    out_channels, in_channels = weight.shape[:2]
    if channel_order is None:
        channel_order = torch.arange(in_channels, device=weight.device)
    order = _check_order(channel_order, in_channels)
    values, kept = (m.unflatten(1, (-1, in_channels))[:, :, order] for m in (values, kept))

    # Rows and the channels of each tap, filled up to whole tiles, in groups of four.
    padding = (0, -in_channels % STEP, 0, 0, 0, -out_channels % ROW_TILE)
    groups = F.pad(values, padding).flatten(1).unflatten(1, (-1, 4))
    kept_groups = F.pad(kept, padding).flatten(1).unflatten(1, (-1, 4))
    # The first two kept; where there are fewer, the first others, with zeros as their values.
    rank = 4 * kept_groups.long() - torch.arange(4, device=weight.device)
    places = rank.topk(2, dim=2).indices.sort(dim=2).values
    slots = torch.where(kept_groups, groups, 0).gather(2, places)
    taken = torch.zeros_like(kept_groups).scatter_(2, places, True)
    taken = taken.flatten(1).unflatten(1, (kept.shape[1], -1))[:out_channels, :, :in_channels]
    left = kept & ~taken
    return TwoFourWeight(
        _to_lanes(slots.flatten(1)),
        _to_metadata(places),
        csr_of_matrix(values.flatten(1), left.flatten(1), tuple(weight.shape)),
        order.to(torch.int32),
        tuple(weight.shape),
    )


def _by_row(mask: Tensor, channel_order: Tensor | None) -> Tensor:
    """The mask as int64 (O * taps, I), its channels in the given order."""
    if mask.dtype != torch.bool:
        raise TypeError(f"expected a bool mask, got {mask.dtype}")
    rows = flatten_tap_major(mask).reshape(-1, mask.shape[1]).long()
    if channel_order is None:
        return rows
    return rows[:, _check_order(channel_order, mask.shape[1])]


def _check_order(order: Tensor, channels: int) -> Tensor:
    """The order as int64. Raises ValueError unless it names every channel once."""
    if order.is_floating_point() or order.shape != (channels,):
        raise ValueError(
            f"expected a channel order of {channels} integers, "
            f"got {order.dtype} of shape {tuple(order.shape)}"
        )
    order = order.long()
    if not torch.equal(order.sort().values, torch.arange(channels, device=order.device)):
        raise ValueError(f"expected a channel order that names each of {channels} channels once")
    return order


def _to_lanes(compressed: Tensor) -> Tensor:
    """(rows, columns / 2) -> (row tiles, steps, 2, 32, 8): what each lane loads at once.

    Lane 4 g + t holds rows g and g + 8 and, of each 16 stored columns, 2 t, 2 t + 1 and the two
    eight further on (PTX ISA, "Matrix fragments for mma.m16n8k32 with sparsity").
    """
    rows, columns = compressed.shape
    steps = columns * 2 // STEP
    split = compressed.view(rows // ROW_TILE, 2, 8, steps, 2, 2, 4, 2)
    # (tile, half, g, step, instruction, eight, t, pair) -> (tile, step, instruction, lane, value)
    lanes = split.permute(0, 3, 4, 2, 6, 5, 1, 7)
    return lanes.reshape(rows // ROW_TILE, steps, 2, 32, 8).contiguous()


def _from_lanes(values: Tensor) -> Tensor:
    """Inverse of `_to_lanes`."""
    tiles, steps = values.shape[:2]
    split = values.view(tiles, steps, 2, 8, 4, 2, 2, 2)
    return split.permute(0, 6, 3, 1, 2, 5, 4, 7).reshape(tiles * ROW_TILE, steps * STEP // 2)


def _to_metadata(places: Tensor) -> Tensor:
    """Positions (rows, groups, 2) -> (row tiles, steps, 32) int32."""
    rows, groups, _ = places.shape
    steps = groups * 4 // STEP
    nibbles = (places[..., 0] | places[..., 1] << 2).view(
        rows // ROW_TILE, 2, 8, steps, 2, _TILE // 16, 4
    )
    shifts = 4 * torch.arange(4, device=places.device)
    halves = (nibbles << shifts).sum(-1)  # (tile, half, g, step, instruction, pair)
    words = halves[:, 0] | halves[:, 1] << 16
    words = words.permute(0, 2, 1, 3, 4).reshape(rows // ROW_TILE, steps, 32)
    # The same 32 bits, as signed.
    return torch.where(words < 1 << 31, words, words - (1 << 32)).to(torch.int32)


def _positions(metadata: Tensor) -> Tensor:
    """Inverse of `_to_metadata`: int64 (rows, groups, 2)."""
    tiles, steps, _ = metadata.shape
    words = metadata.long().view(tiles, steps, 8, 2, 2)
    halves = torch.stack((words & 0xFFFF, words >> 16 & 0xFFFF), 1)
    shifts = 4 * torch.arange(4, device=metadata.device)
    nibbles = halves.unsqueeze(-1) >> shifts & 15  # (tile, half, step, g, instruction, pair, group)
    nibbles = nibbles.permute(0, 1, 3, 2, 4, 5, 6).reshape(tiles * ROW_TILE, steps * STEP // 4)
    return torch.stack((nibbles & 3, nibbles >> 2), -1)

"""How well a mask fits the formats that GPUs run, told without packing it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from torch import Tensor

from sparse_ovs.formats.bsr import blocks_touched
from sparse_ovs.formats.two_four import two_four_fit

Block = tuple[int, int]


@dataclass(frozen=True)
class MaskFit:
    """What the GPU formats would store of one mask.

    Attributes:
        shape: of the weight, (O, I, *kernel) or (O, I).
        kept: weights that the mask keeps.
        slots: by block shape (R, C), the places that BSR would store.
        residue: weights that would find no slot in 2:4.
    """

    shape: tuple[int, ...]
    kept: int
    slots: Mapping[Block, int]
    residue: int

    @property
    def places(self) -> int:
        """Weights of the dense layer."""
        return prod(self.shape)


def fit_mask(mask: Tensor, blocks: Iterable[Block]) -> MaskFit:
    """Measures a bool mask (O, I, *kernel) or (O, I) for these block shapes.

    Raises:
        TypeError: the mask is not bool.
    """
    fit = two_four_fit(mask)
    slots = {block: int(blocks_touched(mask, block).sum()) * prod(block) for block in blocks}
    return MaskFit(tuple(mask.shape), fit.kept, slots, fit.residue)

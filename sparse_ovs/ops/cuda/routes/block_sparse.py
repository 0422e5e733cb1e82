"""Masks of blocks: dense blocks on tensor cores, by the Triton kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_ovs.formats import BsrWeight, MaskFit, pack_bsr
from sparse_ovs.kernels import unavailable_reason as triton_unavailable
from sparse_ovs.ops.cuda.request import Arithmetic, ConvRequest, LinearRequest
from sparse_ovs.ops.cuda.routes.route import Variant
from sparse_ovs.ops.layout import nhwc

# (R, C), those of `kernels.tiles`, which cannot be imported where triton is missing.
BLOCKS = ((16, 16), (16, 64), (32, 32), (64, 64))
# Slots that may be stored for each kept weight. An estimate: blocks reach a good part of the dense
# tensor-core rate, so that a few zeros inside them cost little, and many cost all that is gained.
_MOST_SLOTS = 1.5


@dataclass(frozen=True)
class Packed:
    """The structure, which depends on the mask alone, and the values it has now."""

    structure: BsrWeight
    values: Tensor


class BlockSparse:
    """BSR; a variant is a block shape (R, C)."""

    name = "bsr"

    def unsupported_reasons(self, fit: MaskFit, arithmetic: Arithmetic) -> list[str]:
        if reason := triton_unavailable():
            return [reason]
        # The smallest block stores the fewest slots.
        share = fit.slots[BLOCKS[0]] / max(1, fit.kept)
        if share > _MOST_SLOTS:
            rows, columns = BLOCKS[0]
            return [f"bsr: {rows}x{columns} blocks would store {share:.3g} slots a kept weight"]
        return []

    def variants(self, fit: MaskFit, arithmetic: Arithmetic) -> list[Variant]:
        fitting = [block for block in BLOCKS if fit.slots[block] <= _MOST_SLOTS * fit.kept]
        if arithmetic == Arithmetic(torch.float32, tf32=False):
            fitting = [block for block in fitting if block != (64, 64)]  # would spill registers
        # Of equal ones the tallest: it reads the activations least often.
        fitting.sort(key=lambda block: (fit.slots[block], -block[0], -block[1]))
        return list[Variant](fitting)

    def pack(
        self,
        weight: Tensor,
        mask: Tensor,
        variant: Variant,
        arithmetic: Arithmetic,
        former: Packed | None,
    ) -> Packed:
        weight = weight.detach().to(arithmetic.dtype)
        if former is not None:
            values = former.structure.gather(torch.where(mask, weight, 0))
            return Packed(former.structure, values)
        rows, columns = variant
        structure = pack_bsr(weight, mask, (rows, columns))
        return Packed(structure, structure.values)

    def conv2d(
        self, asked: ConvRequest, packed: Packed, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        from sparse_ovs.kernels import bsr_conv2d

        structure = packed.structure
        return bsr_conv2d.forward(
            nhwc(asked.x),
            packed.values,
            structure.row_ptr,
            structure.taps,
            structure.channels,
            structure.shape[0],
            (structure.shape[2], structure.shape[3]),
            bias,
            None if asked.residual is None else nhwc(asked.residual),
            "relu" if asked.relu else None,
            *asked.geometry,
            precision=asked.arithmetic.precision,
        )

    def linear(
        self, asked: LinearRequest, packed: Packed, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        from sparse_ovs.kernels import bsr_linear

        structure = packed.structure
        return bsr_linear.forward(
            asked.x,
            packed.values,
            structure.row_ptr,
            structure.channels,
            structure.shape[0],
            bias,
            None,
            "relu" if asked.relu else None,
            asked.arithmetic.precision,
        )

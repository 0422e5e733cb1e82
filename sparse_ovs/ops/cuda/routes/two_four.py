"""Any mask in halves: 2:4 on sparse tensor cores, and what does not fit it beside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparse_ovs import _cuda
from sparse_ovs.formats import MaskFit, TwoFourWeight, to_two_four
from sparse_ovs.ops.cuda.launch import run
from sparse_ovs.ops.cuda.request import Arithmetic, ConvRequest, LinearRequest
from sparse_ovs.ops.cuda.routes.route import Variant
from sparse_ovs.ops.cuda.sp24_residue import TILES, sp24_conv2d, sp24_linear

# Of all weights, the share that may be multiplied one by one. An estimate from public peak rates:
# a dense product costs about 16 times less on an A100's tensor cores than outside of them, and 2:4
# saves half of that.
_MOST_RESIDUE = 0.01


class TwoFour:
    """2:4 with a residue; a variant is the number of a tile, or empty: the one for the size."""

    name = "sp24_residue"

    def unsupported_reasons(self, fit: MaskFit, arithmetic: Arithmetic) -> list[str]:
        if reason := _cuda.unavailable_reason():
            return [reason]
        if arithmetic.dtype not in (torch.float16, torch.bfloat16):
            return ["sp24_residue: 2:4 tensor cores need float16 or bfloat16"]
        if fit.residue > _MOST_RESIDUE * fit.places:
            return [
                f"sp24_residue: {fit.residue / fit.places:.1%} of the weights do not fit 2:4, "
                f"more than {_MOST_RESIDUE:.0%}"
            ]
        return []

    def variants(self, fit: MaskFit, arithmetic: Arithmetic) -> list[Variant]:
        return [(), *((number,) for number in range(len(TILES)))]

    def pack(
        self,
        weight: Tensor,
        mask: Tensor,
        variant: Variant,
        arithmetic: Arithmetic,
        former: Any | None,
    ) -> TwoFourWeight:
        return to_two_four(weight, mask, arithmetic.dtype)

    def conv2d(
        self, asked: ConvRequest, packed: TwoFourWeight, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        stride, padding, dilation = asked.geometry
        tile = TILES[variant[0]] if variant else None
        launch, y = sp24_conv2d(
            asked.x,
            packed,
            bias,
            asked.residual,
            stride=stride,
            padding=padding,
            dilation=dilation,
            relu=asked.relu,
            tile=tile,
        )
        return run(launch, y)

    def linear(
        self, asked: LinearRequest, packed: TwoFourWeight, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        tile = TILES[variant[0]] if variant else None
        return run(*sp24_linear(asked.x, packed, bias, relu=asked.relu, tile=tile))

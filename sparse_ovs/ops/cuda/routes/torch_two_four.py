"""Plain 2:4 products in halves: torch's own, by cuSPARSELt."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.formats import MaskFit
from sparse_ovs.ops.cuda.request import Arithmetic, ConvRequest, LinearRequest
from sparse_ovs.ops.cuda.routes.route import Variant

# torch takes weights of whole tiles.
_ROWS, _COLUMNS = 32, 64


class TorchTwoFour:
    """torch.sparse's semi-structured weight; it has no variants, and convolutions are not its.

    Last of the routes: it runs where a clock has found it the fastest.
    """

    name = "torch_2:4"

    def unsupported_reasons(self, fit: MaskFit, arithmetic: Arithmetic) -> list[str]:
        if not (torch.cuda.is_available() and torch.backends.cusparselt.is_available()):
            return ["torch_2:4: no GPU, or no cuSPARSELt in this build of torch"]
        if arithmetic.dtype not in (torch.float16, torch.bfloat16):
            return ["torch_2:4: 2:4 tensor cores need float16 or bfloat16"]
        if len(fit.shape) != 2 or fit.shape[0] % _ROWS or fit.shape[1] % _COLUMNS:
            return [f"torch_2:4: no linear layer of {_ROWS} by {_COLUMNS} tiles"]
        if fit.residue:
            return ["torch_2:4: the mask is not 2:4"]
        return []

    def variants(self, fit: MaskFit, arithmetic: Arithmetic) -> list[Variant]:
        return [()]

    def pack(
        self,
        weight: Tensor,
        mask: Tensor,
        variant: Variant,
        arithmetic: Arithmetic,
        former: Any | None,
    ) -> Tensor:
        kept = torch.where(mask, weight.detach(), 0).to(arithmetic.dtype)
        return torch.sparse.to_sparse_semi_structured(kept)

    def conv2d(
        self, asked: ConvRequest, packed: Tensor, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        raise ValueError("expected a linear layer, got a convolution")

    def linear(
        self, asked: LinearRequest, packed: Tensor, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        y = F.linear(asked.x, packed, None if bias is None else bias.to(asked.x.dtype))
        return y.relu() if asked.relu else y

"""Any mask weight by weight, without tensor cores: float32 above all."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sparse_ovs import _cuda
from sparse_ovs.formats import CsrWeight, MaskFit, to_csr
from sparse_ovs.ops.cuda.csr_direct import csr_conv2d, csr_matmul
from sparse_ovs.ops.cuda.launch import run
from sparse_ovs.ops.cuda.request import Arithmetic, ConvRequest, LinearRequest
from sparse_ovs.ops.cuda.routes.route import Variant


class SingleWeights:
    """CSR; it has no variants."""

    name = "csr_direct"

    def unsupported_reasons(self, fit: MaskFit, arithmetic: Arithmetic) -> list[str]:
        reason = _cuda.unavailable_reason()
        return [reason] if reason else []

    def variants(self, fit: MaskFit, arithmetic: Arithmetic) -> list[Variant]:
        return [()]

    def pack(
        self,
        weight: Tensor,
        mask: Tensor,
        variant: Variant,
        arithmetic: Arithmetic,
        former: Any | None,
    ) -> CsrWeight:
        return to_csr(weight, mask, arithmetic.dtype)

    def conv2d(
        self, asked: ConvRequest, packed: CsrWeight, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        stride, padding, dilation = asked.geometry
        launch, y = csr_conv2d(
            asked.x.contiguous(),
            packed,
            bias,
            asked.residual,
            stride=stride,
            padding=padding,
            dilation=dilation,
            relu=asked.relu,
        )
        return run(launch, y)

    def linear(
        self, asked: LinearRequest, packed: CsrWeight, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        # The kernel has the columns of its product side by side: tokens.
        return run(*csr_matmul(asked.x.t(), packed, bias, relu=asked.relu)).t().contiguous()

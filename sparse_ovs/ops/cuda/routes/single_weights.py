"""Any mask weight by weight, without tensor cores: float32 above all."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sparse_ovs import _cuda
from sparse_ovs.formats import CsrWeight, MaskFit, to_csr
from sparse_ovs.ops.cuda.csr_direct import csr_conv2d, csr_matmul
from sparse_ovs.ops.cuda.launch import run
from sparse_ovs.ops.cuda.request import Arithmetic, Geometry
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
        self,
        x: Tensor,
        packed: CsrWeight,
        bias: Tensor | None,
        residual: Tensor | None,
        geometry: Geometry,
        relu: bool,
        variant: Variant,
        arithmetic: Arithmetic,
    ) -> Tensor:
        stride, padding, dilation = geometry
        launch, y = csr_conv2d(
            x.contiguous(),
            packed,
            bias,
            residual,
            stride=stride,
            padding=padding,
            dilation=dilation,
            relu=relu,
        )
        return run(launch, y)

    def linear(
        self,
        x: Tensor,
        packed: CsrWeight,
        bias: Tensor | None,
        relu: bool,
        variant: Variant,
        arithmetic: Arithmetic,
    ) -> Tensor:
        # The kernel has the columns of its product side by side: tokens.
        return run(*csr_matmul(x.t(), packed, bias, relu=relu)).t().contiguous()

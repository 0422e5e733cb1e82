"""What a way of running a sparse layer on a GPU offers, so that one can be chosen by reasons."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from sparse_ovs.formats import MaskFit
from sparse_ovs.ops.cuda.request import Arithmetic, ConvRequest, LinearRequest

# What a tuner may choose of a route, as numbers: a block shape, or a tile.
Variant = tuple[int, ...]


class Route(Protocol):
    """A kernel family with its format."""

    name: str

    def unsupported_reasons(self, fit: MaskFit, arithmetic: Arithmetic) -> list[str]:
        """Why it does not run a mask; empty if it does."""

    def variants(self, fit: MaskFit, arithmetic: Arithmetic) -> list[Variant]:
        """What there is to choose from for a mask that it runs, the best guess first."""

    def pack(
        self,
        weight: Tensor,
        mask: Tensor,
        variant: Variant,
        arithmetic: Arithmetic,
        former: Any | None,
    ) -> Any:
        """The kept weights in its format, on the device of the weight.

        Args:
            former: what this gave for the same mask and variant before: its structure may serve
                again.
        """

    def conv2d(
        self, asked: ConvRequest, packed: Any, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        """The output, in any layout; bias is float32."""

    def linear(
        self, asked: LinearRequest, packed: Any, bias: Tensor | None, variant: Variant
    ) -> Tensor:
        """The output; bias is float32."""

"""Gradients of a sparse convolution's weight, for maps of one size."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence

from sparse_ovs._native.loading import check, library
from sparse_ovs._native.structures import Conv2dParams
from sparse_ovs._native.tuning import Tuning, tuning_structure
from sparse_ovs._native.weights import NativeWeights


class WeightGradient:
    """Dot products of output gradients and inputs, only where weights are stored.

    in_shape is (N, C, H, W); both maps lie in `layout`. Raises ValueError where shapes do not fit.
    """

    def __init__(
        self,
        weights: NativeWeights,
        in_shape: Sequence[int],
        layout: int,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        threads: int,
        tuning: Tuning | None = None,
    ) -> None:
        batch, _, height, width = in_shape
        params, handle = Conv2dParams(*stride, *padding, *dilation, 0), ctypes.c_void_p()
        check(
            library().sovs_weight_gradient_create(
                weights._handle,
                ctypes.byref(params),
                None if tuning is None else ctypes.byref(tuning_structure(tuning)),
                batch,
                height,
                width,
                layout,
                threads,
                ctypes.byref(handle),
            )
        )
        self._handle = handle
        weakref.finalize(self, library().sovs_weight_gradient_destroy, handle)

    def run(self, x: int, grad: int, out: int, threads: int) -> None:
        """Writes the dense gradient (O, I / groups, kh, kw), zeros where nothing is stored; the
        GIL is released. Addresses of contiguous fp32 memory."""
        check(library().sovs_weight_gradient_run(self._handle, x, grad, out, threads))

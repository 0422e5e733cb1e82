"""Plans: steps over declared maps, run as one call."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence

from sparse_ovs._native.loading import check, library
from sparse_ovs._native.step_info import StepInfo
from sparse_ovs._native.structures import AttentionParams, Conv2dParams, StepInfoStructure
from sparse_ovs._native.tuning import PANELS, Tuning, tuning_structure
from sparse_ovs._native.weights import NativeWeights

NCHW, NHWC = 0, 1


class Plan:
    """Steps over declared maps, run as one call; built step by step, then finalized.

    Maps go by the numbers that `tensor` gives. Raises NativeRefusal where the library takes no such
    step.
    """

    def __init__(self) -> None:
        handle = ctypes.c_void_p()
        check(library().sovs_plan_create(ctypes.byref(handle)))
        self._adopt(handle)
        self._counts = (0, 0)
        self._steps = 0

    def _adopt(self, handle: ctypes.c_void_p) -> None:
        self._handle = handle
        weakref.finalize(self, library().sovs_plan_destroy, handle)

    def tensor(self, shape: Sequence[int], layout: int) -> int:
        """Declares a map (N, C, H, W) of layout NCHW or NHWC."""
        name = ctypes.c_int32()
        check(library().sovs_plan_add_tensor(self._handle, *shape, layout, ctypes.byref(name)))
        return name.value

    def conv2d(
        self,
        weights: NativeWeights,
        source: int,
        target: int,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        activation: int,
        residual: int | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        """Adds target = activation(conv2d(source) + bias [+ residual]); 0 is none, 1 is ReLU, and
        so on as sovs_activation in the header."""
        self._steps += 1
        params = Conv2dParams(*stride, *padding, *dilation, activation)
        check(
            library().sovs_plan_add_conv2d(
                self._handle,
                weights._handle,
                ctypes.byref(params),
                None if tuning is None else ctypes.byref(tuning_structure(tuning)),
                source,
                -1 if residual is None else residual,
                target,
            )
        )

    def avg_pool2x2(self, source: int, target: int) -> None:
        """Adds target = mean over 2x2 pixels of source, stride 2."""
        self._steps += 1
        check(library().sovs_plan_add_avg_pool2x2(self._handle, source, target))

    def atrous_pool2x2(self, source: int, target: int, dilation: int) -> None:
        """Adds target = mean over 2x2 pixels of source that are `dilation` apart, stride 1."""
        self._steps += 1
        check(library().sovs_plan_add_atrous_pool2x2(self._handle, dilation, source, target))

    def layer_norm(
        self,
        source: int,
        target: int,
        channels: int,
        gamma: int | None,
        beta: int | None,
        eps: float,
    ) -> None:
        """Adds target = source normalised over channels; addresses of (C,) floats or None."""
        self._steps += 1
        check(
            library().sovs_plan_add_layer_norm(
                self._handle, channels, gamma, beta, eps, source, target
            )
        )

    def attention(
        self,
        source: int,
        queries: int | None,
        target: int,
        heads: int,
        head_channels: int,
        first: Sequence[int],
        scale: float,
    ) -> None:
        """Adds attention; `first` are the channels where queries, keys and values begin, queries
        in a map of their own or in the source."""
        self._steps += 1
        params = AttentionParams(heads, head_channels, *first, scale)
        own = -1 if queries is None else queries
        check(
            library().sovs_plan_add_attention(
                self._handle, ctypes.byref(params), source, own, target
            )
        )

    def tokens(
        self, source: int, target: int, tokens: int, channels: int, constants: int, mean: bool
    ) -> None:
        """Adds target = the source's pixels behind class tokens, plus constants (tokens, C)."""
        self._steps += 1
        check(
            library().sovs_plan_add_tokens(
                self._handle, tokens, channels, constants, int(mean), source, target
            )
        )

    def crop(self, source: int, target: int, first: int) -> None:
        """Adds target = the source's pixels from `first` on, as many as it has."""
        self._steps += 1
        check(library().sovs_plan_add_crop(self._handle, first, source, target))

    def finalize(self, inputs: Sequence[int], outputs: Sequence[int], threads: int) -> None:
        """Names the maps that the caller passes, and chooses tilings for `threads` threads."""
        given = (ctypes.c_int32 * len(inputs))(*inputs)
        results = (ctypes.c_int32 * len(outputs))(*outputs)
        check(
            library().sovs_plan_finalize(
                self._handle, given, len(inputs), results, len(outputs), threads
            )
        )
        self._counts = (len(inputs), len(outputs))

    def run_many(self, inputs: Sequence[int], outputs: Sequence[int], threads: int) -> None:
        """Runs on the addresses of the maps, in the order of finalize; the GIL is released."""
        given = (ctypes.c_void_p * self._counts[0])(*inputs)
        results = (ctypes.c_void_p * self._counts[1])(*outputs)
        check(library().sovs_plan_run(self._handle, given, results, threads))

    def time(self, inputs: Sequence[int], outputs: Sequence[int], threads: int) -> list[float]:
        """run_many; seconds spent in each step, in the order in which they were added."""
        given = (ctypes.c_void_p * self._counts[0])(*inputs)
        results = (ctypes.c_void_p * self._counts[1])(*outputs)
        seconds = (ctypes.c_double * self._steps)()
        check(library().sovs_plan_time(self._handle, given, results, threads, seconds))
        return list(seconds)

    def step_infos(self) -> list[StepInfo]:
        """What a final plan runs, in order: the steps that were added, and copies at its edge."""
        lib, found = library(), []
        for i in range(lib.sovs_plan_step_count(self._handle)):
            info = StepInfoStructure()
            check(lib.sovs_plan_step_info(self._handle, i, ctypes.byref(info)))
            found.append(
                StepInfo(
                    info.step,
                    None if info.strip_group < 0 else info.strip_group,
                    info.backend.decode(),
                    (info.n, info.c, info.h, info.w),
                    info.tile,
                    info.density,
                    info.tile_rows,
                    info.tile_cols,
                    info.k_tile,
                    info.row_parts,
                    PANELS[info.panel],
                )
            )
        return found

    def arena_nbytes(self) -> int:
        """Bytes of activations that one run holds inside."""
        return int(library().sovs_plan_arena_bytes(self._handle))

    def run(self, inputs: Sequence[int], output: int, threads: int) -> None:
        """run_many for a plan of one output."""
        self.run_many(inputs, [output], threads)

"""Programs: lists of records that the library makes plans of, see docs/plan-files.md."""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sparse_ovs._native.loading import check, library
from sparse_ovs._native.plan import Plan
from sparse_ovs._native.structures import FLOAT32, Map, NamedTensor, NamedWeights
from sparse_ovs._native.weights import NativeWeights


class Floats(NamedTuple):
    """A contiguous float32 tensor in memory."""

    address: int
    shape: Sequence[int]


class Program:
    """What an encoder computes, at any size.

    Args:
        header: as a plan file of the present version holds it; of it "inputs", "steps" and
            "outputs" are read.
        weights: of its convolutions, by the names of their records.
        tensors: of other records, by "name.part"; copied.

    Raises NativeRefusal where the library takes no such records.
    """

    def __init__(
        self,
        header: Mapping[str, Any],
        weights: Mapping[str, NativeWeights],
        tensors: Mapping[str, Floats],
    ) -> None:
        text = json.dumps({"format_version": 2, **header}).encode()
        named_weights = (NamedWeights * len(weights))(
            *[NamedWeights(name.encode(), w._handle) for name, w in weights.items()]
        )
        shapes = [(ctypes.c_int64 * len(t.shape))(*t.shape) for t in tensors.values()]
        named_tensors = (NamedTensor * len(tensors))(
            *[
                NamedTensor(name.encode(), t.address, FLOAT32, len(shape), ctypes.addressof(shape))
                for (name, t), shape in zip(tensors.items(), shapes, strict=True)
            ]
        )
        self._handle = ctypes.c_void_p()
        check(
            library().sovs_program_create(
                text,
                named_weights,
                len(weights),
                named_tensors,
                len(tensors),
                ctypes.byref(self._handle),
            )
        )
        weakref.finalize(self, library().sovs_program_destroy, self._handle)
        self._records = len(header["steps"])

    def plan(
        self,
        inputs: Sequence[tuple[Sequence[int], int]],
        output_layouts: Sequence[int],
        threads: int,
    ) -> Plan:
        """The plan for inputs of these shapes (N, C, H, W) and layouts (NCHW or NHWC), and outputs
        of these layouts.

        Raises NativeRefusal where the library has no kernels for them.
        """
        maps = (Map * len(inputs))(
            *[Map(*shape, layout, FLOAT32, 0.0, 0) for shape, layout in inputs]
        )
        layouts = (ctypes.c_int64 * len(output_layouts))(*output_layouts)
        handle = ctypes.c_void_p()
        check(
            library().sovs_plan_create(
                self._handle,
                maps,
                len(inputs),
                layouts,
                len(layouts),
                threads,
                ctypes.byref(handle),
            )
        )
        return Plan(handle, len(inputs), len(output_layouts), self._records)

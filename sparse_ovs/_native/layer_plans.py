"""Plans of one layer, as the eager operators run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparse_ovs._native.plan import Plan
from sparse_ovs._native.program import Program
from sparse_ovs._native.weights import NativeWeights


def conv_plan(
    weights: NativeWeights,
    in_shape: Sequence[int],
    layout: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    relu: bool,
    residual_shape: Sequence[int] | None,
    threads: int,
) -> Plan:
    """A convolution of a map (N, C, H, W); its inputs are the map and, where it has a shape, the
    residual, all in one layout."""
    conv: dict[str, Any] = {
        "op": "conv2d",
        "stride": list(stride),
        "padding": list(padding),
        "dilation": list(dilation),
        "activation": "relu" if relu else None,
    }
    shapes = [in_shape] if residual_shape is None else [in_shape, residual_shape]
    return _plan_of(conv, {"out": weights}, shapes, layout, threads)


def avg_pool_plan(in_shape: Sequence[int], layout: int, threads: int) -> Plan:
    """A mean over 2x2 pixels, stride 2."""
    return _plan_of({"op": "avg_pool2x2"}, {}, [in_shape], layout, threads)


def _plan_of(
    record: dict[str, Any],
    weights: dict[str, NativeWeights],
    shapes: Sequence[Sequence[int]],
    layout: int,
    threads: int,
) -> Plan:
    names = [f"in{i}" for i in range(len(shapes))]
    header = {
        "inputs": [
            {"name": name, "channels": shape[1]} for name, shape in zip(names, shapes, strict=True)
        ],
        "steps": [{**record, "name": "out", "inputs": names}],
        "outputs": ["out"],
    }
    program = Program(header, weights, {})
    return program.plan([(shape, layout) for shape in shapes], [layout], threads)

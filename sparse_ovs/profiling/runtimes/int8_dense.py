"""The int8 that a user has without pruning: which runtimes offer it here, and how each is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from torch import Tensor, nn

from sparse_ovs.profiling.runtimes.onnxruntime_int8 import onnxruntime_int8
from sparse_ovs.profiling.runtimes.openvino_int8 import (
    openvino_int8,
    openvino_int8_streams,
)

Run = Callable[[], list[np.ndarray]]
Build = Callable[[nn.Module, Tensor, Sequence[np.ndarray], int], Run]
BuildStreams = Callable[[nn.Module, Tensor, Sequence[np.ndarray], int, int], list[Run]]


@dataclass(frozen=True)
class Int8Dense:
    """A runtime that quantises and runs dense encoders.

    Attributes:
        label: for people.
        packages: what it needs, as pip and Python call them.
        build: (dense encoder, x, batches to calibrate on, threads) -> a forward.
        build_streams: (dense encoder, x, batches, threads of all, streams) -> a forward for each
            stream; None where it has no streams.
    """

    label: str
    packages: tuple[str, ...]
    build: Build
    build_streams: BuildStreams | None = None


INT8_DENSE = {
    "openvino_int8": Int8Dense(
        "OpenVINO int8", ("openvino", "nncf"), openvino_int8, openvino_int8_streams
    ),
    "onnxruntime_int8": Int8Dense(
        "ONNX Runtime int8", ("onnxruntime", "onnx", "onnxscript"), onnxruntime_int8
    ),
}

# The command that brings the first of them.
HOW_TO_GET = f"pip install {' '.join(INT8_DENSE['openvino_int8'].packages)}"


def installed() -> list[str]:
    """Names of those whose packages are here."""
    return [
        name
        for name, each in INT8_DENSE.items()
        if all(find_spec(package) is not None for package in each.packages)
    ]

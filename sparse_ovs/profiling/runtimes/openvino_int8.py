"""OpenVINO in int8: NNCF's post-training quantisation, as its documentation does it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def quantize_openvino(model: Any, batches: Sequence[np.ndarray]) -> Any:
    """An openvino.Model in int8, calibrated on these batches; all settings are NNCF's own."""
    import nncf

    nncf.set_log_level(logging.ERROR)  # else it asks for 300 images
    return nncf.quantize(model, nncf.Dataset(list(batches)))


def openvino_int8(
    dense: nn.Module, x: Tensor, batches: Sequence[np.ndarray], threads: int
) -> Callable[[], list[np.ndarray]]:
    """A dense encoder's forward in int8 on x."""
    (run,) = openvino_int8_streams(dense, x, batches, threads, 1)
    return run


def openvino_int8_streams(
    dense: nn.Module, x: Tensor, batches: Sequence[np.ndarray], threads: int, streams: int
) -> list[Callable[[], list[np.ndarray]]]:
    """A dense encoder's forwards in int8 on x, one for each of OpenVINO's streams, which share the
    threads."""
    import openvino

    with torch.no_grad():
        model = openvino.convert_model(torch.export.export(dense, (x,)))
    settings = {
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": str(threads),
    }
    quantized = quantize_openvino(model, batches)
    compiled = openvino.Core().compile_model(quantized, "CPU", settings)
    return [
        _run(compiled.create_infer_request(), openvino.Tensor(x.numpy())) for _ in range(streams)
    ]


def _run(request: Any, x: Any) -> Callable[[], list[np.ndarray]]:
    request.set_input_tensor(x)

    def run() -> list[np.ndarray]:
        request.infer()
        return [tensor.data for tensor in request.output_tensors]

    return run

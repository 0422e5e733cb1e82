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
    import openvino

    with torch.no_grad():
        model = openvino.convert_model(torch.export.export(dense, (x,)))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
    }
    quantized = quantize_openvino(model, batches)
    request = openvino.Core().compile_model(quantized, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x.numpy()))

    def run() -> list[np.ndarray]:
        request.infer()
        return [tensor.data for tensor in request.output_tensors]

    return run

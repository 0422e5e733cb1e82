"""ONNX Runtime in int8: static quantisation into QDQ, weights per channel."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from sparse_ovs.profiling.runtimes.onnx_graph import export_onnx


def quantize_onnxruntime(
    graph: str | os.PathLike[str], batches: Sequence[np.ndarray], out: str | os.PathLike[str]
) -> None:
    """Writes the graph in int8: u8 maps by min-max over these batches, s8 weights."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # of a package without types
        def __init__(self, name: str) -> None:
            self._feeds = iter([{name: batch} for batch in batches])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(os.fspath(graph), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            os.fspath(out),
            Reader(_input_name(prepared)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def onnxruntime_int8(
    dense: nn.Module, x: Tensor, batches: Sequence[np.ndarray], threads: int
) -> Callable[[], list[np.ndarray]]:
    """A dense encoder's forward in int8 on x."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        graph, quantized = Path(folder) / "graph.onnx", Path(folder) / "int8.onnx"
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        export_onnx(dense, x, graph)
        quantize_onnxruntime(graph, batches, quantized)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(
            str(quantized), options, providers=["CPUExecutionProvider"]
        )
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: list(session.run(None, feed))


def _input_name(graph: Path) -> str:
    import onnx

    return str(onnx.load(str(graph), load_external_data=False).graph.input[0].name)

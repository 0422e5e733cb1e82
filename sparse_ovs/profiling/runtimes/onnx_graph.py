"""The ONNX graph of a dense encoder, as every runtime reads it; needs onnx and onnxscript."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

# The newest that every peer reads: DeepSparse stops at IR 9, and opset 18 needs IR 8.
_OPSET, _IR = 18, 8


def export_onnx(dense: nn.Module, x: Tensor, path: str | os.PathLike[str]) -> None:
    """Writes the graph for inputs of one shape, as dynamo exports it: BatchNorm is folded into the
    convolutions, zeros stay."""
    import onnx

    program = torch.onnx.export(dense, (x,), dynamo=True, opset_version=_OPSET, verbose=False)
    assert program is not None  # with dynamo=True
    proto = program.model_proto
    proto.ir_version = _IR
    onnx.save(proto, os.fspath(path))

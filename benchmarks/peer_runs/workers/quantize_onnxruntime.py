"""Tool: the graph in int8 as ONNX Runtime makes it, model.onnx."""

from __future__ import annotations

from pathlib import Path

from peer_runs.workers.protocol import Job
from peer_runs.workers.quantized import make


def quantize(job: Job, folder: Path) -> None:
    """Writes model.onnx."""
    import numpy

    from sparse_ovs.profiling.runtimes.onnxruntime_int8 import quantize_onnxruntime

    quantize_onnxruntime(job.onnx, numpy.load(job.calibration), folder / "model.onnx")


if __name__ == "__main__":
    make(quantize)

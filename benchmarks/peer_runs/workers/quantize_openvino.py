"""Tool: the graph in int8 as NNCF makes it, model.xml."""

from __future__ import annotations

from pathlib import Path

from peer_runs.workers.protocol import Job
from peer_runs.workers.quantized import make


def quantize(job: Job, folder: Path) -> None:
    """Writes model.xml and model.bin."""
    import numpy
    import openvino

    from sparse_ovs.profiling.runtimes.openvino_int8 import quantize_openvino

    model = quantize_openvino(openvino.Core().read_model(job.onnx), numpy.load(job.calibration))
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


if __name__ == "__main__":
    make(quantize)

"""Tool: the scales of our int8, quantization.safetensors."""

from __future__ import annotations

from pathlib import Path

from peer_runs.workers.protocol import Job
from peer_runs.workers.quantized import make


def quantize(job: Job, folder: Path) -> None:
    """Writes quantization.safetensors."""
    import numpy
    import torch

    import sparse_ovs
    from peer_runs.workers.torch_model import build

    model, _ = build(job)
    batches = torch.from_numpy(numpy.load(job.calibration))
    sparse_ovs.quantize(model, batches.unbind()).save(folder / "quantization.safetensors")


if __name__ == "__main__":
    make(quantize)

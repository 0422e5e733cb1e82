"""Worker: the whole-encoder plan of sparse_ovs, in fp32 or int8."""

from __future__ import annotations

from peer_runs.workers.protocol import Job, Loaded, main, resident_mb
from peer_runs.workers.quantized import quantized


def load(job: Job) -> Loaded:
    """The plan of the dense model with zeros in it."""
    import sparse_ovs
    from peer_runs.workers.torch_model import arrays, build
    from sparse_ovs import _native

    scales = None
    if job.option == "int8":
        made = quantized(job, "quantize_ours") / "quantization.safetensors"
        scales = sparse_ovs.load_quantization(made)
    imported = resident_mb()
    model, x = build(job)
    fast = sparse_ovs.compile(model, x, precision=job.option, quantization=scales)
    facts = {"sparse_ovs": sparse_ovs.__version__, "kernels": _native.isa()}
    return Loaded(lambda: fast(x), arrays, facts, imported)


if __name__ == "__main__":
    main(load)

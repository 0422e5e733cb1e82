"""Worker: OpenVINO on the CPU."""

from __future__ import annotations

from peer_runs.workers.protocol import Job, Loaded, main, resident_mb


def load(job: Job) -> Loaded:
    """A request of the latency setting, in float32."""
    import numpy
    import openvino

    imported = resident_mb()
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(job.threads),
        # Its default is bfloat16 where the CPU has it: not what the others compute.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(job.onnx, "CPU", settings).create_infer_request()
    x = numpy.load(job.input)
    request.set_input_tensor(openvino.Tensor(x))  # a copy, so the request owns what it reads
    return Loaded(
        request.infer,
        lambda _: [tensor.data for tensor in request.output_tensors],
        {"openvino": openvino.__version__.partition("-")[0]},
        imported,
    )


if __name__ == "__main__":
    main(load)

"""Worker: OpenVINO on the CPU, in fp32, bf16 or int8."""

from __future__ import annotations

from peer_runs.workers.protocol import Job, Loaded, main, resident_mb
from peer_runs.workers.quantized import quantized


def load(job: Job) -> Loaded:
    """A request of the latency setting."""
    import numpy
    import openvino

    imported = resident_mb()
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(job.threads),
    }
    graph = job.onnx
    if job.option == "int8":
        # What NNCF leaves alone runs as by default: in bfloat16 where the CPU has it.
        graph = str(quantized(job, "quantize_openvino") / "model.xml")
    else:
        # The default would be bfloat16 where the CPU has it: not what fp32 computes.
        settings["INFERENCE_PRECISION_HINT"] = job.option
    compiled = core.compile_model(graph, "CPU", settings)
    request = compiled.create_infer_request()
    x = numpy.load(job.input)
    request.set_input_tensor(openvino.Tensor(x))  # a copy, so the request owns what it reads
    facts = {
        "openvino": openvino.__version__.partition("-")[0],
        "openvino precision": compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
    }
    return Loaded(
        request.infer, lambda _: [tensor.data for tensor in request.output_tensors], facts, imported
    )


if __name__ == "__main__":
    main(load)

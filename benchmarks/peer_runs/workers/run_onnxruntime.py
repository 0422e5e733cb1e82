"""Worker: ONNX Runtime on the CPU, in fp32 or int8."""

from __future__ import annotations

from peer_runs.workers.protocol import Job, Loaded, main, resident_mb
from peer_runs.workers.quantized import quantized


def load(job: Job) -> Loaded:
    """A session with every optimisation, its buffers bound."""
    import numpy
    import onnxruntime

    imported = resident_mb()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Threads spin within a pass, as by default, and sleep between the contestant's turns.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    graph = job.onnx
    if job.option == "int8":
        graph = str(quantized(job, "quantize_onnxruntime") / "model.onnx")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    # Bound buffers spare it copies and page faults of a fresh output in every pass.
    binding = session.io_binding()
    x = onnxruntime.OrtValue.ortvalue_from_numpy(numpy.load(job.input))
    binding.bind_ortvalue_input(session.get_inputs()[0].name, x)
    outputs = []
    for output in session.get_outputs():
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(output.shape, numpy.float32)
        binding.bind_ortvalue_output(output.name, value)
        outputs.append(value)
    return Loaded(
        lambda: session.run_with_iobinding(binding),
        lambda _: [value.numpy() for value in outputs],
        {"onnxruntime": onnxruntime.__version__},
        imported,
    )


if __name__ == "__main__":
    main(load)

"""Worker: DeepSparse, in an environment without torch."""

from __future__ import annotations

from peer_runs.workers.protocol import Job, Loaded, main, resident_mb


def load(job: Job) -> Loaded:
    """The engine, compiled for the graph and its batch size."""
    import deepsparse
    import numpy

    imported = resident_mb()
    x = numpy.load(job.input)
    engine = deepsparse.Engine(
        model=job.onnx, batch_size=x.shape[0], num_cores=job.threads, num_streams=1
    )
    facts = {
        "deepsparse": deepsparse.__version__,
        "deepsparse supported operations": f"{engine.fraction_of_supported_ops:.0%}",
    }
    return Loaded(lambda: engine.run([x], val_inp=False), list, facts, imported)


if __name__ == "__main__":
    main(load)

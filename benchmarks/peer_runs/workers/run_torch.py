"""Worker: dense torch, one of eager, channels_last, compiled, frozen."""

from __future__ import annotations

from peer_runs.workers.protocol import Job, Loaded, main, resident_mb


def load(job: Job) -> Loaded:
    """One of the dense baselines."""
    import torch

    from peer_runs.workers.torch_model import arrays, build
    from sparse_ovs.profiling.baselines import build_baselines

    imported = resident_mb()
    model, x = build(job)
    built = build_baselines(model, x, [job.option])
    if job.option in built.failures:
        raise RuntimeError(built.failures[job.option])
    return Loaded(built.runs[job.option], arrays, {"torch": torch.__version__}, imported)


if __name__ == "__main__":
    main(load)

"""A worker without a runtime: what it does is its option."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import numpy

from peer_runs.workers.protocol import Job, Loaded, main


def load(job: Job) -> Loaded:
    """The identity of its input; "wrong" adds to it, "fails", "dies" and "hangs" do not get there,
    "tires" stops running after its warm-up."""
    print("a runtime's banner")
    os.write(1, b"and one from below Python\n")
    if job.option == "fails":
        raise ValueError("no such operation\nand a long story")
    if job.option == "dies":
        os.write(2, b"illegal something\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if job.option == "hangs":
        time.sleep(60)
    x = numpy.load(job.input)
    passes = 0

    def run() -> numpy.ndarray:
        nonlocal passes
        passes += 1
        if job.option == "tires" and passes > 3:
            raise RuntimeError("tired")
        return x

    wrong = 1 if job.option == "wrong" else 0
    facts = {"job": str(replace(job, input="")), "cores": str(sorted(os.sched_getaffinity(0)))}
    return Loaded(run, lambda out: [out + wrong], facts, imported_mb=123)


if __name__ == "__main__":
    main(load)

"""What a profiler runs: each picked layer once, warm, between start and stop.

`python -m gpu_runs.steps.one_launch '[{"layer": ..., ...}]'`
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from gpu_runs.missing import stand_in_for_open_clip


def launch(spec: dict[str, Any], device: str) -> None:
    """Packs a layer as `picked.SPEC` says, and runs it."""
    from gpu_runs.steps.layer_times import prepare
    from sparse_ovs.profiling.bench.arithmetic import multiplying_as

    with multiplying_as(spec["arithmetic"]), torch.no_grad():
        call = prepare(spec, device)
        call()
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.profiler.start()
            call()
            torch.cuda.synchronize()
            torch.cuda.profiler.stop()


if __name__ == "__main__":
    stand_in_for_open_clip()
    for one in json.loads(sys.argv[1]):
        launch(one, "cuda")

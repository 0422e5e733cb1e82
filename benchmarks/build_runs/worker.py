"""Worker: one build of sparse_ovs; speaks the line protocol of peer_runs."""

from __future__ import annotations

import json
from typing import Any

from peer_runs.workers.protocol import Job, Loaded, main, resident_mb

_compiled: dict[str, Any] = {}  # the last encoder, which other sizes and thread counts share


def load(job: Job) -> Loaded:
    """A trunk's plan, not tuned; `option` is the rest of the job in JSON."""
    import torch

    import sparse_ovs
    from build_runs.trunks import make_trunk, pixels
    from sparse_ovs import _native

    imported = resident_mb()
    about = json.loads(job.option)
    torch.set_num_threads(job.threads)
    x = pixels(tuple(about["shape"]))
    what = f"{job.model} {about['pattern']} {about['density']}"
    if what not in _compiled:
        _compiled.clear()
        trunk = make_trunk(job.model, about["pattern"], about["density"])
        _compiled[what] = sparse_ovs.compile(trunk, x, autotune=False)
    encoder = _compiled[what]
    facts = {
        "place": str(sparse_ovs.__file__),
        "version": sparse_ovs.__version__,
        "torch": torch.__version__,
        "kernels": _native.isa(),
    }

    def arrays(maps: list[torch.Tensor]) -> list[Any]:
        return [m.contiguous().numpy() for m in maps]

    return Loaded(lambda: encoder(x), arrays, facts, imported)


if __name__ == "__main__":
    main(load)

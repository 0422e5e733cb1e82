"""The dense torch encoder with the case's weights, for the workers that run on torch."""

from __future__ import annotations

from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import sparse_ovs
from peer_runs.workers.protocol import Job
from sparse_ovs.backbones import Backbone


def build(job: Job) -> tuple[Backbone, Tensor]:
    """The encoder in eval mode and its input, torch set to the job's threads.

    Built without storage and without CLIP's other parts: a peak of memory is the contestant's own.
    """
    import numpy

    torch.set_num_threads(job.threads)
    # open_clip moves its models to a device, which a module without storage refuses.
    with torch.device("meta"), patch.object(nn.Module, "to", lambda self, *_, **__: self):
        model = sparse_ovs.create_backbone(job.model)
    del model.clip
    model.load_state_dict(load_file(job.weights), assign=True)
    return model.eval().requires_grad_(False), torch.from_numpy(numpy.load(job.input))


def arrays(maps: list[Tensor]) -> list[object]:
    """The maps as numpy arrays."""
    return [m.detach().contiguous().numpy() for m in maps]

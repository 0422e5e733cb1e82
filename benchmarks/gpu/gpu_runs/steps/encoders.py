"""RN50 as a sparse encoder and its dense twin: open_clip's, or timm's where that is missing."""

from __future__ import annotations

import copy
from functools import cache

import timm
import torch
from torch import Tensor, nn

from gpu_runs.missing import open_clip_is_there
from gpu_runs.plan import DENSITY
from sparse_ovs.nn import densify, sparsify
from sparse_ovs.profiling.bench.runner import density_of
from sparse_ovs.profiling.pair import make_pair
from sparse_ovs.profiling.random_weights import calibrate_random_weights


def make_encoders(pattern: str) -> tuple[nn.Module, nn.Module, str]:
    """(sparse, dense, name): equal weights, in eval mode, on the CPU; random, but calibrated.
    Pruning takes seconds: the same pattern again is copied."""
    return copy.deepcopy(_encoders(pattern))


@cache
def _encoders(pattern: str) -> tuple[nn.Module, nn.Module, str]:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 96, 96)
    density = density_of(pattern, DENSITY)
    if open_clip_is_there():
        pair = make_pair("RN50", x, density, pattern)
        return pair.sparse, pair.dense, "open_clip RN50"
    dense = timm.create_model("resnet50_clip", features_only=True, out_indices=(1, 2, 3, 4))
    calibrate_random_weights(dense, x)
    sparse = copy.deepcopy(dense).eval()
    stages = [name for name, m in sparse.named_modules() if _prunable(name, m)]
    sparsify(sparse, pattern, dict.fromkeys(stages, density))
    dense = densify(copy.deepcopy(sparse)).eval()
    return sparse, dense, "timm resnet50_clip"


def _prunable(name: str, module: nn.Module) -> bool:
    return name.startswith("stages") and isinstance(module, nn.Conv2d)


def maps(found: object) -> list[Tensor]:
    """What an encoder gives, as a list."""
    assert isinstance(found, (list, tuple))
    return list(found)

"""Encoders whose weights numpy makes: the same numbers in every build, and with every torch."""

from __future__ import annotations

import math
from unittest.mock import patch
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

import sparse_ovs


def make_trunk(name: str, pattern: str, density: float) -> nn.Module:
    """An open_clip trunk in eval mode; the layers of its default scope are pruned.

    Args:
        pattern: "unstructured", "block4x1" or "n:m"; the last has a density of its own, 2:4 for 0.5
            and 1:8 for less.
    """
    # open_clip moves its models to a device, which a module without storage refuses.
    with torch.device("meta"), patch.object(nn.Module, "to", lambda self, *_, **__: self):
        trunk = sparse_ovs.create_backbone(name)
    del trunk.clip
    pruned = {f"{layer}{end}" for layer in trunk.scope() for end in (".weight", "_weight")}
    state = {}
    for key, value in trunk.state_dict().items():
        shape = tuple(value.shape)
        numbers = np.random.RandomState(crc32(key.encode()))
        state[key] = (
            _matrix(numbers, shape, key in pruned, pattern, density)
            if len(shape) > 1
            else _vector(numbers, shape, key)
        )
    trunk.load_state_dict(state, assign=True)
    return trunk.eval().requires_grad_(False)


def pixels(shape: tuple[int, ...]) -> Tensor:
    """Input maps."""
    return _uniform(np.random.RandomState(7), shape, -1.0, 1.0)


def _vector(numbers: np.random.RandomState, shape: tuple[int, ...], key: str) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    around_one = key.endswith(("weight", "running_var", "gamma"))
    return _uniform(numbers, shape, *((0.5, 1.5) if around_one else (-0.5, 0.5)))


def _matrix(
    numbers: np.random.RandomState,
    shape: tuple[int, ...],
    pruned: bool,
    pattern: str,
    density: float,
) -> Tensor:
    kept = _kept(numbers, shape, pattern, density) if pruned else None
    # As large where few are kept: every branch counts beside the others.
    share = 1.0 if kept is None else density
    bound = math.sqrt(3.0 / (math.prod(shape[1:]) * share))
    weight = _uniform(numbers, shape, -bound, bound)
    return weight if kept is None else weight * kept


def _kept(
    numbers: np.random.RandomState, shape: tuple[int, ...], pattern: str, density: float
) -> Tensor:
    rows, taps, columns = shape[0], math.prod(shape[2:]), shape[1]
    if pattern == "n:m":
        kept, of = (2, 4) if density >= 0.5 else (1, 8)
        groups = numbers.random_sample((rows, taps, columns // of, of))
        found = groups >= np.sort(groups)[..., of - kept, None]
    elif pattern == "block4x1":
        blocks = numbers.random_sample((rows // 4, taps, columns)) < density
        found = np.repeat(blocks, 4, axis=0)
    else:
        found = numbers.random_sample((rows, taps, columns)) < density
    # Tap-major, as patterns are.
    return torch.from_numpy(found.reshape(rows, *shape[2:], columns)).movedim(-1, 1)


def _uniform(
    numbers: np.random.RandomState, shape: tuple[int, ...], low: float, high: float
) -> Tensor:
    values = low + (high - low) * numbers.random_sample(shape)
    return torch.from_numpy(np.asarray(values, np.float32))

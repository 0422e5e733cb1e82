"""Whole models to compare: the dense twin of a sparse model, and whether their maps agree."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparse_ovs import densify
from sparse_ovs.profiling import max_relative_error


def masked_dense(model: nn.Module) -> nn.Module:
    """Plain torch modules with the same zeros."""
    return densify(copy.deepcopy(model)).eval()


def assert_same_maps(model: nn.Module, x: Tensor, limit: float = 2e-5) -> None:
    """Every map of the model is that of its masked dense twin."""
    with torch.no_grad():
        ours, theirs = maps_of(model(x)), maps_of(masked_dense(model)(x))
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    assert all(float(b.abs().max()) > 0 for b in theirs)
    assert max_relative_error(ours, theirs) <= limit


def maps_of(output: Tensor | Sequence[Tensor] | dict[str, Tensor]) -> list[Tensor]:
    """Whatever a model returns, as a list of tensors."""
    if isinstance(output, Tensor):
        return [output]
    return list(output.values()) if isinstance(output, dict) else list(output)

"""Random graphs compile, whatever is in them, and give eager's values at every size."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import sparse_ovs
from support.examples import examples
from support.models import maps_of
from support.random_graphs import RandomGraph, random_graphs

# Rounding differs in every step, and norms of nearly equal numbers enlarge it.
_OF_TORCH, _OF_SCALE = 8.0, 2e-5


def assert_like_eager(model: RandomGraph, x: Tensor, threads: int) -> None:
    """The compiled values, twice, and those of eager in double precision."""
    with torch.no_grad():
        expected = maps_of(copy.deepcopy(model).double()(x.double()))
        in_float = maps_of(model(x.clone()))
    compiled = sparse_ovs.compile(model, x.clone(), threads=threads)
    for _ in range(2):
        ours = maps_of(compiled(x.clone()))
        assert len(ours) == len(expected)
        for a, b, c in zip(ours, expected, in_float, strict=True):
            assert (a.shape, a.dtype) == (c.shape, c.dtype)
            of_torch = float((c.double() - b).abs().max())
            bound = _OF_TORCH * of_torch + _OF_SCALE * (1 + float(b.abs().max()))
            assert float((a.double() - b).abs().max()) <= bound


_SETTINGS = settings(suppress_health_check=list(HealthCheck), print_blob=True)


@settings(_SETTINGS, max_examples=25, derandomize=True)  # the slow test looks for others
@given(random_graphs(), st.integers(1, 2))
def test_random_graphs_give_eager_s_values(graph: tuple[RandomGraph, Tensor], threads: int) -> None:
    assert_like_eager(*graph, threads)


@pytest.mark.slow
@settings(_SETTINGS, max_examples=examples(400))
@given(random_graphs(most=16), st.integers(1, 2))
def test_many_large_random_graphs_give_eager_s_values(
    graph: tuple[RandomGraph, Tensor], threads: int
) -> None:
    assert_like_eager(*graph, threads)

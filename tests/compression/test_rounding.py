"""Rounding to s8: on the grid, under the mask, and better than to the nearest."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.compression import rounding
from sparse_ovs.compression.prune import prune_layer
from sparse_ovs.compression.rounding import round_to_s8
from sparse_ovs.quantization.ranges import weight_scales
from support.layer_problems import problem_of, random_problem


def nearest(weight: Tensor, scales: Tensor) -> Tensor:
    steps = scales.double().view(*weight.shape[:2], 1)
    return (weight / steps).round().clamp(-127, 127) * steps


@pytest.mark.parametrize(
    ("groups", "rows", "columns", "density"),
    [(1, 16, 150, 1.0), (1, 16, 150, 0.1), (4, 4, 27, 0.6), (40, 1, 9, 1.0)],
)
def test_rounding_adds_less_loss_than_rounding_to_nearest(
    groups: int, rows: int, columns: int, density: float
) -> None:
    problem = random_problem(groups, rows, columns, 0)
    layer = prune_layer(problem, density)
    rounded, scales = round_to_s8(problem, layer.weight, layer.mask)
    plain = problem.loss(nearest(layer.weight, scales))
    assert problem.loss(rounded) - layer.loss < 0.9 * (plain - layer.loss)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 12)),
    density=st.floats(0, 1),
    coarse=st.booleans(),
    seed=st.integers(0, 99),
)
def test_weights_are_whole_steps_under_the_mask_and_no_row_is_worse_than_nearest(
    shape: tuple[int, int, int], density: float, coarse: bool, seed: int
) -> None:
    problem = random_problem(*shape, seed, drift=0.2)
    layer = prune_layer(problem, density)
    given_scales = weight_scales(layer.weight.flatten(0, 1)) * 20 if coarse else None
    rounded, scales = round_to_s8(problem, layer.weight, layer.mask, given_scales)
    whole = rounded / scales.double().view(*shape[:2], 1)
    torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-9)
    assert float(whole.abs().max()) < 127.5
    assert not rounded[~layer.mask].any()
    assert not rounded[rounded == 0].signbit().any()
    gram, start = problem.damped_gram(), problem.start()

    def losses(weight: Tensor) -> Tensor:
        return ((weight - start) @ gram * (weight - start)).sum(2)

    plain = losses(nearest(layer.weight, scales))
    assert bool((losses(rounded) <= plain * (1 + 1e-9) + 1e-15).all())


def test_scales_are_those_that_quantize_gives_the_pruned_weights() -> None:
    problem = random_problem(2, 3, 8, 0)
    layer = prune_layer(problem, 0.5)
    _, scales = round_to_s8(problem, layer.weight, layer.mask)
    assert torch.equal(scales, weight_scales(layer.weight.flatten(0, 1)))
    assert scales.dtype == torch.float32


def test_weights_of_float32_are_the_products_of_a_number_and_its_scale() -> None:
    problem = random_problem(1, 6, 30, 0)
    weight = problem.weight.float()
    rounded, scales = round_to_s8(problem, weight, torch.ones_like(weight, dtype=torch.bool))
    assert rounded.dtype == torch.float32
    assert torch.equal((rounded / scales[:, None]).round() * scales[:, None], rounded)


def test_blocks_of_columns_change_nothing_but_rounding_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = random_problem(2, 5, 20, 1)
    layer = prune_layer(problem, 0.6)
    whole, _ = round_to_s8(problem, layer.weight, layer.mask)
    monkeypatch.setattr(rounding, "_BLOCK", 3)
    torch.testing.assert_close(round_to_s8(problem, layer.weight, layer.mask)[0], whole)


def test_rows_and_inputs_of_zeros_stay_zero_or_finite() -> None:
    x = torch.rand(1, 4, 9, dtype=torch.float64)
    x[:, :, 2:5] = 0
    weight = torch.randn(1, 3, 9)
    weight[0, 1] = 0
    problem = problem_of(weight, x)
    rounded, scales = round_to_s8(problem, weight, weight != 0)
    assert bool(rounded.isfinite().all())
    assert not rounded[0, 1].any()
    assert float(scales[1]) == 1.0


def test_what_does_not_fit_is_refused() -> None:
    problem = random_problem(1, 2, 4, 0)
    mask = torch.ones(1, 2, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"expected a mask of shape \(1, 2, 4\), got \(2, 4\)"):
        round_to_s8(problem, problem.weight, mask[0])
    with pytest.raises(ValueError, match="expected a scale for each of 2 output channels, got"):
        round_to_s8(problem, problem.weight, mask, torch.ones(3))
    with pytest.raises(ValueError, match="expected positive, finite scales, got others"):
        round_to_s8(problem, problem.weight, mask, torch.zeros(2))

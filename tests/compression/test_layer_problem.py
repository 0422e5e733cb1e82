"""A layer's problem: losses from the moments, the start, damping, mean correction."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.compression.matrices import as_matrices, as_weight
from sparse_ovs.compression.mean_correction import corrected_bias
from support.layer_problems import problem_of, random_inputs, random_problem


def samples(seed: int, drift: float) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (2, 3, 5), dense and compressed inputs (2, 40, 5)."""
    random = torch.Generator().manual_seed(seed)
    x = random_inputs(2, 40, 5, random)
    noise = torch.randn(x.shape, generator=random, dtype=torch.float64)
    weight = torch.randn(2, 3, 5, generator=random, dtype=torch.float64)
    return weight, x, x + drift * noise


@given(seed=st.integers(0, 99), drift=st.sampled_from([0.0, 0.3]))
def test_a_loss_is_the_mean_squared_error_of_the_outputs(seed: int, drift: float) -> None:
    weight, dense, compressed = samples(seed, drift)
    problem = problem_of(weight, dense, compressed if drift else None)
    other = weight * (torch.rand(weight.shape) < 0.5)
    error = (other @ compressed.mT - weight @ dense.mT).square().mean(2)
    torch.testing.assert_close(problem.row_losses(other), error)
    assert problem.loss(other) == pytest.approx(float(error.sum()))
    power = float((weight @ dense.mT).square().mean(2).sum())
    assert problem.relative_loss(other) == pytest.approx(float(error.sum()) / power)


@given(seed=st.integers(0, 99), drift=st.sampled_from([0.0, 0.3]))
def test_a_centred_problem_is_that_of_outputs_without_their_means(seed: int, drift: float) -> None:
    weight, dense, compressed = samples(seed, drift)
    problem = problem_of(weight, dense, compressed if drift else None).centred()
    other = weight * (torch.rand(weight.shape) < 0.5)
    error = other @ compressed.mT - weight @ dense.mT
    torch.testing.assert_close(problem.row_losses(other), error.var(2, correction=0))
    torch.testing.assert_close(problem.target_power, (weight @ dense.mT).var(2, correction=0))
    assert problem.unchanged == (not drift)


def test_inputs_that_never_change_are_worth_nothing_once_centred() -> None:
    weight, dense, _ = samples(0, 0.0)
    noise = 1 + 1e-5 * torch.randn(dense.shape, generator=torch.Generator().manual_seed(1))
    problem = problem_of(weight, dense, 3 * noise.double()).centred()
    torch.testing.assert_close(problem.start(), weight)
    assert problem.relative_loss(weight) == pytest.approx(1)


def test_rounding_that_reaches_below_zero_is_outweighed() -> None:
    weight, dense, _ = samples(0, 0.0)
    problem = problem_of(weight, dense, 3 + 1e-4 * dense).centred()
    wrong = torch.randn(problem.gram.shape, generator=torch.Generator().manual_seed(1)).double()
    # As products of inputs near 3 leave it in fp32 on some CPUs.
    noisy = replace(problem, gram=problem.gram + 3e-4 * (wrong + wrong.mT))
    assert float(torch.linalg.eigvalsh(noisy.gram).min()) < -2e-4
    assert bool((torch.linalg.eigvalsh(noisy.damped_gram()) > 0).all())
    assert bool(noisy.start().isfinite().all())


@given(seed=st.integers(0, 99), drift=st.sampled_from([0.0, 0.3]))
def test_with_the_corrected_bias_outputs_have_the_dense_means(seed: int, drift: float) -> None:
    weight, dense, compressed = samples(seed, drift)
    problem = problem_of(weight, dense, compressed if drift else None)
    other = weight * (torch.rand(weight.shape) < 0.5)
    for one in (problem, problem.centred()):
        bias = corrected_bias(one, other)
        outputs = (other @ compressed.mT).mean(2).flatten() + bias
        torch.testing.assert_close(outputs, (weight @ dense.mT).mean(2).flatten())


def test_the_start_is_the_dense_weight_where_nothing_before_was_compressed() -> None:
    problem = random_problem(2, 3, 5, 0)
    assert torch.equal(problem.start(), problem.weight)


@given(seed=st.integers(0, 99))
def test_the_start_has_the_least_damped_loss(seed: int) -> None:
    problem = random_problem(2, 3, 5, seed, drift=0.3)
    weight = problem.weight.clone().requires_grad_()
    drift = weight - problem.weight
    ridge = problem.damped_gram() - problem.gram

    def damped(w: Tensor) -> Tensor:
        squared = (w @ problem.gram * w).sum() - 2 * (problem.weight @ problem.cross * w).sum()
        return squared + (drift @ ridge * drift).sum()

    start = problem.start()
    weight = start.clone().requires_grad_()
    drift = weight - problem.weight
    (slope,) = torch.autograd.grad(damped(weight), weight)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-9)
    assert problem.loss(start) < problem.loss(problem.weight)


def test_damping_is_relative_to_the_mean_of_the_diagonal() -> None:
    problem = random_problem(2, 3, 5, 0)
    ridge = problem.damped_gram(0.1) - problem.gram
    for group in range(2):
        mean = float(problem.gram[group].diagonal().mean())
        torch.testing.assert_close(ridge[group], 0.1 * mean * torch.eye(5, dtype=torch.float64))


def test_a_group_without_inputs_is_damped_as_the_weakest_other() -> None:
    x = torch.rand(3, 20, 4, dtype=torch.float64)
    x[0], x[1] = 0, 0.1 * x[1]
    damped = problem_of(torch.ones(3, 1, 4), x).damped_gram()
    weak = float(damped[1].diagonal().mean() - (x[1].T @ x[1] / 20).diagonal().mean())
    torch.testing.assert_close(damped[0], weak * torch.eye(4, dtype=torch.float64))
    nothing = problem_of(torch.ones(1, 1, 4), torch.zeros(1, 5, 4, dtype=torch.float64))
    assert bool((nothing.damped_gram()[0].diagonal() > 0).all())
    assert nothing.relative_loss(torch.zeros(1, 1, 4)) == 0


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)])
@pytest.mark.parametrize("groups", [1, 3])
def test_matrices_are_tap_major_and_come_back(shape: tuple[int, ...], groups: int) -> None:
    weight = torch.randn(shape)
    matrices = as_matrices(weight, groups)
    columns = weight[0].numel()
    assert matrices.shape == (groups, 6 // groups, columns)
    if len(shape) == 4:
        assert torch.equal(matrices.flatten(0, 1)[:, :4], weight[:, :, 0, 0])
    assert torch.equal(as_weight(matrices, shape), weight)

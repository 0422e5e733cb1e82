"""prune_layer: patterns, densities, degenerate layers, and ADMM beside the exact form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.compression.layer_problem import LayerProblem
from sparse_ovs.compression.prune import loss_curve, prune_layer
from sparse_ovs.compression.refit import descend, solve
from sparse_ovs.patterns import kept_count, parse_pattern
from sparse_ovs.patterns.units import kept_units, unit_grid
from support.layer_problems import problem_of, random_inputs, random_problem


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("density", [0.5, 0.25, 0.1])
@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
@pytest.mark.parametrize(("groups", "rows", "columns"), [(1, 32, 96), (2, 24, 72), (48, 1, 25)])
def test_admm_is_within_five_per_cent_of_exact(
    groups: int, rows: int, columns: int, pattern: str, density: float, seed: int
) -> None:
    problem = random_problem(groups, rows, columns, seed)
    exact = prune_layer(problem, density, pattern, "exact")
    admm = prune_layer(problem, density, pattern, "admm")
    assert admm.loss <= 1.05 * exact.loss


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pattern", ["2:4", "1:4"])
def test_admm_is_no_worse_than_exact_for_n_of_m(pattern: str, seed: int) -> None:
    problem = random_problem(1, 32, 96, seed)
    density = int(pattern[0]) / 4
    exact = prune_layer(problem, density, pattern, "exact")
    assert prune_layer(problem, density, pattern, "admm").loss <= exact.loss


@pytest.mark.parametrize("method", ["exact", "admm"])
@pytest.mark.parametrize("density", [0.5, 0.2])
def test_the_loss_is_far_below_that_of_the_largest_weights(method: str, density: float) -> None:
    problem = random_problem(1, 32, 96, 0)
    size = problem.weight.abs()
    least = size.flatten().kthvalue(round((1 - density) * size.numel())).values
    layer = prune_layer(problem, density, method=method)  # type: ignore[arg-type]
    assert layer.loss < 0.5 * problem.loss(problem.weight * (size > least))


@given(
    pattern=st.sampled_from(["unstructured", "block4x1", "block2x3", "channel", "block8x1"]),
    method=st.sampled_from(["auto", "exact", "admm"]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9)),
    density=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_masks_are_of_whole_units_as_many_as_the_density_says(
    pattern: str, method: str, shape: tuple[int, int, int], density: float, seed: int
) -> None:
    if method == "exact" and pattern in ("block2x3", "channel"):
        method = "auto"
    problem = random_problem(*shape, seed)
    layer = prune_layer(problem, density, pattern, method)  # type: ignore[arg-type]
    pruned = layer.weight[~layer.mask]
    assert not pruned.any()
    assert not pruned.signbit().any()
    assert layer.loss == problem.loss(layer.weight)
    units = kept_units(layer.mask.flatten(0, 1), parse_pattern(pattern))
    rows, columns = unit_grid((shape[0] * shape[1], shape[2]), parse_pattern(pattern))
    assert int(units.sum()) == (kept_count(density, rows * columns) if density else 0)


@given(
    method=st.sampled_from(["auto", "exact", "admm"]),
    n=st.integers(1, 4),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9)),
)
def test_n_of_every_m_columns_stay(method: str, n: int, shape: tuple[int, int, int]) -> None:
    layer = prune_layer(random_problem(*shape, 0), n / 4, f"{n}:4", method)  # type: ignore[arg-type]
    for group in layer.mask.split(4, 2):
        assert bool((group.sum(2) == min(n, group.shape[2])).all())


@pytest.mark.parametrize("method", ["exact", "admm"])
def test_all_kept_is_the_start_and_none_kept_is_zero(method: str) -> None:
    problem = random_problem(2, 3, 7, 0, drift=0.3)
    whole = prune_layer(problem, 1.0, method=method)  # type: ignore[arg-type]
    assert torch.equal(whole.weight, problem.start())
    nothing = prune_layer(problem, 0.0, method=method)  # type: ignore[arg-type]
    assert not nothing.weight.any()
    assert nothing.loss == pytest.approx(float(problem.target_power.sum()))


@pytest.mark.parametrize("method", ["exact", "admm"])
def test_separate_groups_keep_what_they_would_keep_alone(method: str) -> None:
    # Twice the same group: the common threshold gives each half of what stays.
    one = random_problem(1, 6, 10, 3)
    two = LayerProblem(*(torch.cat([part, part]) for part in _tensors(one)))
    layer = prune_layer(replace(two, cross=two.gram), 0.4, method=method)  # type: ignore[arg-type]
    alone = prune_layer(one, 0.4, method=method)  # type: ignore[arg-type]
    for group in range(2):
        assert torch.equal(layer.mask[group], alone.mask[0])
        torch.testing.assert_close(layer.weight[group], alone.weight[0])


@pytest.mark.parametrize("method", ["exact", "admm"])
@pytest.mark.parametrize("pattern", ["unstructured", "block4x1", "2:4"])
def test_inputs_that_are_zero_or_fewer_than_columns_give_finite_weights(
    pattern: str, method: str
) -> None:
    x = torch.randn(2, 5, 12, dtype=torch.float64).relu()  # rank 5 of 12
    x[:, :, 3:6] = 0  # dead channels
    x[1] = 0  # a dead group
    weight = torch.randn(2, 4, 12)
    weight[0, 1] = 0
    problem = problem_of(weight, x)
    layer = prune_layer(problem, 0.5, pattern, method)  # type: ignore[arg-type]
    assert layer.weight.dtype == torch.float32
    assert bool(layer.weight.isfinite().all())


@pytest.mark.parametrize("method", ["exact", "admm"])
def test_what_no_input_reaches_goes_first(method: str) -> None:
    random = torch.Generator().manual_seed(0)
    x = random_inputs(2, 60, 12, random)
    x[0, :, 3:6] = 0  # dead channels
    x[1] = 0  # a dead group
    problem = problem_of(torch.randn(2, 4, 12, generator=random).sign(), x)
    layer = prune_layer(problem, 36 / 96, method=method)  # type: ignore[arg-type]
    assert not layer.mask[1].any()
    assert not layer.mask[0, :, 3:6].any()
    assert layer.loss < 1e-9 * float(problem.target_power.sum())


def test_inputs_that_are_all_zero_cost_nothing() -> None:
    problem = problem_of(torch.randn(1, 4, 6), torch.zeros(1, 3, 6, dtype=torch.float64))
    for method in ("exact", "admm"):
        assert prune_layer(problem, 0.5, method=method).loss == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["exact", "admm"])
@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
def test_a_curve_holds_the_losses_of_prunings(pattern: str, method: str) -> None:
    problem = random_problem(1, 12, 20, 1)
    densities = [0.1, 0.5, 0.9]
    curve = loss_curve(problem, densities, pattern, method)  # type: ignore[arg-type]
    assert curve == [prune_layer(problem, d, pattern, method).loss for d in densities]  # type: ignore[arg-type]
    assert curve == sorted(curve, reverse=True)


def test_errors_before_a_layer_are_corrected_by_it() -> None:
    problem = random_problem(1, 16, 40, 0, drift=0.3)
    blind = prune_layer(replace(problem, cross=problem.gram), 0.5)
    assert prune_layer(problem, 0.5).loss < 0.9 * problem.loss(blind.weight)


@given(seed=st.integers(0, 99), density=st.floats(0.05, 1))
def test_gradients_descend_to_the_least_squares(seed: int, density: float) -> None:
    problem = random_problem(2, 6, 24, seed)
    gram, start = problem.damped_gram(), problem.start()
    mask = torch.rand(start.shape) < density
    best = solve(gram, start, mask)
    scale = gram.diagonal(dim1=1, dim2=2).sqrt()[:, None]
    scaled, weight = gram / scale / scale.mT, start * scale
    found = descend(scaled, weight @ scaled, weight * mask, mask) / scale
    assert not found[~mask].any()

    def loss(w: torch.Tensor) -> float:
        return float((((w - start) @ gram) * (w - start)).sum())

    assert loss(found) <= loss(best) * 1.001 + 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"density": 1.5}, "expected a density with 0 < density <= 1, got 1.5"),
        ({"density": 0.3, "pattern": "2:4"}, "expected density 0.5 for pattern '2:4', got 0.3"),
        ({"density": 0.5, "pattern": "rows"}, "expected pattern 'unstructured'"),
        ({"density": 0.5, "method": "blocked"}, "expected method 'auto', 'exact' or 'admm'"),
        ({"density": 0.5, "damping": 0.0}, "expected a positive, finite damping, got 0.0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prune_layer(random_problem(1, 4, 8, 0), **arguments)  # type: ignore[arg-type]


def _tensors(problem: LayerProblem) -> list[torch.Tensor]:
    return [getattr(problem, name) for name in problem.__dataclass_fields__]

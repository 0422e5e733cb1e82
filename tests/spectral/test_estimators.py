"""Estimators of alpha: against brute force, on planted power laws, and on Gaussian matrices."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparse_ovs.spectral import analyse
from sparse_ovs.spectral.estimators import ESTIMATORS, find_estimator, ks, mid, peak, peak_released
from sparse_ovs.spectral.spectrum import spectrum


def pareto(alpha: float, count: int, seed: int, xmin: float = 1.0) -> Tensor:
    """Drawn from p(x) ~ x^-alpha, x >= xmin, ascending."""
    uniform = np.random.default_rng(seed).random(count)
    return torch.from_numpy(np.sort(xmin * (1 - uniform) ** (-1 / (alpha - 1))))


def brute_fit(values: list[float], i: int) -> tuple[float, float]:
    """alpha and distance of the tail from index i, term by term."""
    n = len(values) - i
    total = math.fsum(math.log(value) for value in values[i:])
    alpha = 1 + n / (total - n * math.log(values[i]))
    distances = [
        abs(1 - (values[j] / values[i]) ** (1 - alpha) - (j - i) / n) for j in range(i, len(values))
    ]
    return alpha, max(distances)


def brute_peak(values: list[float]) -> float:
    """Left edge of the fullest of 100 equal bins of log10, counted one by one."""
    logs = [math.log10(value) for value in values]
    width = (logs[-1] - logs[0]) / 100
    counts = [0] * 100
    for value in logs:
        counts[min(99, int((value - logs[0]) / width))] += 1
    return 10.0 ** (logs[0] + width * counts.index(max(counts)))


def brute_best(values: list[float], low: float, high: float) -> tuple[float, float]:
    starts = [i for i in range(len(values) - 1) if low <= values[i] <= high]
    return min((brute_fit(values, i) for i in starts), key=lambda fit: fit[1])


def some_values(seed: int, count: int) -> Tensor:
    """A bulk and a heavy tail."""
    draw = np.random.default_rng(seed)
    bulk = draw.gamma(3.0, 0.5, count - count // 4)
    tail = 2 * (1 - draw.random(count // 4)) ** -0.7
    return torch.from_numpy(np.sort(np.concatenate([bulk, tail])))


@given(st.integers(4, 60), st.integers(0, 1000))
def test_mid_is_the_formula_from_the_middle_on(count: int, seed: int) -> None:
    values = some_values(seed, count)
    fit = mid(values)
    alpha, distance = brute_fit(values.tolist(), count // 2)
    assert fit.alpha == pytest.approx(alpha, rel=1e-9)
    assert fit.fit_distance == pytest.approx(distance, rel=1e-9, abs=1e-12)
    assert (fit.xmin, fit.tail) == (values[count // 2], count - count // 2)


@given(st.integers(4, 60), st.integers(0, 1000))
def test_ks_is_the_best_fit_of_all_beginnings(count: int, seed: int) -> None:
    values = some_values(seed, count)
    alpha, distance = brute_best(values.tolist(), 0, math.inf)
    assert ks(values).alpha == pytest.approx(alpha, rel=1e-9)
    assert ks(values).fit_distance == pytest.approx(distance, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_peak_is_the_best_fit_near_the_fullest_bin(seed: int) -> None:
    values = some_values(seed, 400)
    top = brute_peak(values.tolist())
    alpha, distance = brute_best(values.tolist(), 0.95 * top, 1.5 * top)
    assert peak(values).alpha == pytest.approx(alpha, rel=1e-9)
    assert peak(values).fit_distance == pytest.approx(distance, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_peak_as_released_has_its_lower_bound_in_the_wrong_scale(seed: int) -> None:
    values = some_values(seed, 400)
    top = brute_peak(values.tolist())
    alpha, _ = brute_best(values.tolist(), math.log10(0.95 * top), 1.5 * top)
    assert peak_released(values).alpha == pytest.approx(alpha, rel=1e-9)


def test_peak_as_released_may_begin_the_tail_below_the_peak() -> None:
    values = some_values(14, 400)
    lowest = 0.95 * brute_peak(values.tolist())
    assert peak(values).xmin >= lowest
    assert peak_released(values).xmin < lowest


@pytest.mark.parametrize("seed", [3, 14, 20])
def test_peak_as_released_of_a_linear_layer_is_of_its_unscaled_matrix(seed: int) -> None:
    """What is left out below 1e-5 moves the bins, and with them the peak: with halved eigenvalues,
    as a convolution has, another alpha comes out."""
    layer = nn.Linear(40, 40)
    weight = torch.randn(40, 40, generator=torch.Generator().manual_seed(seed)) / 100
    layer.weight.data = weight
    squares = np.sort(np.linalg.svd(weight.double().numpy(), compute_uv=False) ** 2)

    def straightforward(eigenvalues: np.ndarray) -> tuple[float, float]:
        values = [float(value) for value in eigenvalues if value > 1e-5]
        top = brute_peak(values)
        return brute_best(values, math.log10(0.95 * top), 1.5 * top)

    alpha, distance = straightforward(squares)
    (row,) = analyse(nn.Sequential(layer), "peak_released").rows
    assert row.alpha == pytest.approx(alpha, rel=1e-6)
    assert row.fit_distance == pytest.approx(distance, rel=1e-6)
    assert straightforward(squares / 2)[0] != pytest.approx(alpha, rel=0.1)


@pytest.mark.parametrize("name", ["mid", "peak", "peak_released", "ks"])
@pytest.mark.parametrize("alpha", [1.5, 2.0, 2.5, 3.0])
@pytest.mark.parametrize("xmin", [1e-3, 1.0, 50.0])
def test_a_planted_power_law_is_recovered(name: str, alpha: float, xmin: float) -> None:
    fit = ESTIMATORS[name].fit(pareto(alpha, 5000, seed=7, xmin=xmin))
    assert abs(fit.alpha - alpha) < 3 * fit.standard_error
    assert fit.fit_distance < 0.03


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "peak_released"])
def test_alpha_does_not_depend_on_the_scale(name: str) -> None:
    values = some_values(3, 300)
    fit, scaled = (ESTIMATORS[name].fit(values * factor) for factor in (1, 1024))
    assert scaled.alpha == pytest.approx(fit.alpha, rel=1e-9)
    assert scaled.xmin == pytest.approx(1024 * fit.xmin, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_ks_is_the_power_law_fit_of_weightwatcher(seed: int) -> None:
    weightwatcher = pytest.importorskip("weightwatcher.WW_powerlaw")
    for values in (some_values(seed, 400), pareto(2.5, 600, seed)):
        theirs, ours = weightwatcher.WWFit(values.numpy(), distribution="power_law"), ks(values)
        assert ours.alpha == pytest.approx(theirs.alpha, rel=1e-9)
        assert ours.fit_distance == pytest.approx(theirs.D, rel=1e-9)
        assert ours.xmin == theirs.xmin


_GOLDEN = {1: 2.13, 2: 2.71, 4: 3.46}


@pytest.fixture(scope="module")
def gaussian() -> dict[int, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {aspect: torch.randn(512 * aspect, 512, generator=draw) for aspect in _GOLDEN}


@pytest.mark.parametrize("aspect", _GOLDEN)
def test_mid_follows_the_aspect_ratio_of_gaussian_matrices(
    gaussian: dict[int, Tensor], aspect: int
) -> None:
    assert mid(spectrum(gaussian[aspect])).alpha == pytest.approx(_GOLDEN[aspect], abs=0.1)


def test_farms_does_not_follow_the_aspect_ratio(gaussian: dict[int, Tensor]) -> None:
    farms = ESTIMATORS["farms"]
    alphas = [
        farms.fit(spectrum(weight, windows=farms.windows)).alpha for weight in gaussian.values()
    ]
    assert max(alphas) - min(alphas) < 0.15


@pytest.mark.parametrize(
    "values",
    [[], [1.0, 2.0], [0.0, 1.0, 2.0], [2.0, 1.0, 3.0], [1.0, 2.0, math.inf], [[1.0, 2.0, 3.0]]],
)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_no_spectrum_is_refused(name: str, values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected .* eigenvalues"):
        ESTIMATORS[name].fit(torch.tensor(values))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_equal_eigenvalues_have_no_tail(name: str) -> None:
    with pytest.raises(ValueError, match="different eigenvalues"):
        ESTIMATORS[name].fit(torch.ones(8))


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected an estimator of mid, .*, got 'hill'"):
        find_estimator("hill")

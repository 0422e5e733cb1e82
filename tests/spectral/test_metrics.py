"""Metrics of a spectrum, against their definitions on the weight itself."""

import math

import numpy as np
import pytest
import torch

from sparse_ovs.spectral.estimators import mid
from sparse_ovs.spectral.metrics import alpha_hat, entropy, log_spectral_norm, stable_rank
from sparse_ovs.spectral.spectrum import spectrum


def test_the_stable_rank_of_a_matrix_is_its_norms_ratio() -> None:
    weight = torch.randn(20, 12, dtype=torch.float64)
    expected = np.linalg.norm(weight, "fro") ** 2 / np.linalg.norm(weight, 2) ** 2
    assert stable_rank(spectrum(weight)) == pytest.approx(expected)


def test_the_log_spectral_norm_is_that_of_the_matrix_squared() -> None:
    weight = torch.randn(20, 12, dtype=torch.float64)
    expected = math.log10(np.linalg.norm(weight, 2) ** 2)
    assert log_spectral_norm(spectrum(weight)) == pytest.approx(expected)


def test_the_log_spectral_norm_of_a_convolution_is_of_its_scaled_matrices() -> None:
    weight = torch.randn(20, 12, 2, 1, dtype=torch.float64)
    scaled = math.sqrt(0.5) * weight.numpy()
    expected = max(math.log10(np.linalg.norm(scaled[:, :, tap, 0], 2) ** 2) for tap in (0, 1))
    assert log_spectral_norm(spectrum(weight)) == pytest.approx(expected)


def test_entropy_is_one_where_all_eigenvalues_are_equal() -> None:
    assert entropy(torch.full((7,), 3.0).double()) == pytest.approx(1)


def test_entropy_is_the_sum_of_p_log_p() -> None:
    values = torch.tensor([1.0, 2.0, 5.0]).double()
    shares = [1 / 8, 2 / 8, 5 / 8]
    expected = -sum(p * math.log(p) for p in shares) / math.log(3)
    assert entropy(values) == pytest.approx(expected)


def test_alpha_hat_weighs_alpha_by_the_log_norm() -> None:
    values = torch.tensor([1.0, 2.0, 5.0, 100.0]).double()
    fit = mid(values)
    assert alpha_hat(fit, values) == pytest.approx(2 * fit.alpha)

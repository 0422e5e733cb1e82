"""Spectra of weights, against numpy's singular values in fp64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.spectral.spectrum import spectrum


def oracle(weight: Tensor) -> np.ndarray:
    """One matrix at a time: singular values of W, or of a convolution's sqrt(0.5) W, squared."""
    factor = np.sqrt(0.5) if weight.dim() == 4 else 1.0
    whole = weight.double().numpy().reshape(*weight.shape[:2], -1)
    pooled: list[float] = []
    for tap in range(whole.shape[2]):
        scaled = factor * whole[:, :, tap]
        pooled += list(np.linalg.svd(scaled, compute_uv=False) ** 2)
    return np.array(sorted(value for value in pooled if value > 1e-5))


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99)
)
def test_eigenvalues_are_the_squared_singular_values_of_all_taps(
    rows: int, columns: int, height: int, width: int, seed: int
) -> None:
    weight = torch.randn(
        rows, columns, height, width, generator=torch.Generator().manual_seed(seed)
    )
    found = spectrum(weight).numpy()
    np.testing.assert_allclose(found, oracle(weight), rtol=1e-7, atol=1e-12)


def test_a_linear_layer_is_not_scaled() -> None:
    weight = torch.randn(24, 10, dtype=torch.float64)
    expected = np.sort(np.linalg.svd(weight.numpy(), compute_uv=False) ** 2)
    np.testing.assert_allclose(spectrum(weight).numpy(), expected, rtol=1e-9)


def test_a_convolution_of_one_tap_has_half_the_eigenvalues_of_its_matrix() -> None:
    weight = torch.randn(24, 10)
    assert torch.equal(spectrum(weight[:, :, None, None]), spectrum(weight) / 2)


@pytest.mark.parametrize(("dropped", "taps", "scale"), [(0.9e-5, (), 1.0), (1.9e-5, (1, 1), 0.5)])
def test_eigenvalues_up_to_1e_5_are_left_out(
    dropped: float, taps: tuple[int, ...], scale: float
) -> None:
    """After a convolution's are halved."""
    kept = torch.tensor([3e-5, 1.0])
    diagonal = torch.cat([torch.tensor([0.0, dropped]), kept]).sqrt().diag()
    found = spectrum(diagonal.reshape(4, 4, *taps))
    torch.testing.assert_close(found, kept.double() * scale)


def test_half_precision_weights_are_analysed_in_fp64() -> None:
    weight = torch.randn(8, 8).bfloat16()
    assert torch.equal(spectrum(weight), spectrum(weight.double()))


def test_small_eigenvalues_are_right_beside_large_ones() -> None:
    """fp32 singular values would be off by far more than the smallest of these."""
    q, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    values = torch.tensor([2e-4, 1e-3, 1e-2, 1.0, 1e2, 1e4], dtype=torch.float64)
    found = spectrum(q * values.sqrt())
    torch.testing.assert_close(found, values, rtol=1e-7, atol=0)


@pytest.mark.parametrize("shape", [(12, 4), (4, 12)])
def test_windows_are_the_square_blocks_where_they_fit(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape)
    blocks = weight.split(4, 0 if shape[0] > 4 else 1)
    expected = np.sort(np.concatenate([oracle(block) for block in blocks]))
    np.testing.assert_allclose(spectrum(weight, windows=True).numpy(), expected, rtol=1e-7)


def test_windows_that_do_not_fit_overlap_and_cover_the_whole() -> None:
    weight = torch.randn(10, 4)
    starts = (0, 3, 6)
    expected = np.sort(np.concatenate([oracle(weight[start : start + 4]) for start in starts]))
    np.testing.assert_allclose(spectrum(weight, windows=True).numpy(), expected, rtol=1e-7)


def test_the_window_of_a_square_is_itself() -> None:
    weight = torch.randn(5, 5, 3, 3)
    assert torch.equal(spectrum(weight, windows=True), spectrum(weight))


def test_weights_of_zeros_have_no_eigenvalues() -> None:
    assert spectrum(torch.zeros(4, 4)).shape == (0,)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 3), (0, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected a weight"):
        spectrum(torch.ones(shape))


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        spectrum(torch.full((3, 3), torch.nan))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_same_spectrum() -> None:
    weight = torch.randn(64, 32, 3, 3)
    torch.testing.assert_close(spectrum(weight, device="cuda"), spectrum(weight), rtol=1e-9, atol=0)

"""BatchNorm folded into a scale and a bias: rounded alike on every CPU."""

from __future__ import annotations

import numpy as np
import torch

from sparse_ovs.ops.layer import fold_norm


def test_scale_and_bias_have_the_bits_of_ieee_arithmetic() -> None:
    draw = np.random.RandomState(0)
    gamma, beta, mean, var, bias = (
        draw.uniform(0.5, 1.5, 1000).astype(np.float32) for _ in range(5)
    )
    scale = gamma / np.sqrt(var + np.float32(1e-5))
    expected = beta - (mean - bias) * scale
    norm = [torch.from_numpy(each) for each in (gamma, beta, mean, var)]
    found, shifted = fold_norm(torch.from_numpy(bias), norm, 1e-5, 1000)
    np.testing.assert_array_equal(found.numpy(), scale)
    np.testing.assert_array_equal(shifted.numpy(), expected)

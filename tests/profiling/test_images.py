"""Procedural images: normalised, smooth, the same each time."""

from __future__ import annotations

import pytest
import torch

from sparse_ovs.profiling.images import smooth_images


def test_images_are_normalised_and_depend_on_the_seed() -> None:
    images = smooth_images(2, (48, 80), seed=3)
    assert images.shape == (2, 3, 48, 80)
    assert images.dtype == torch.float32
    assert images.flatten(2).mean(2).abs().max() < 1e-5
    assert images.flatten(2).var(2, correction=0).sub(1).abs().max() < 1e-4
    assert torch.equal(images, smooth_images(2, (48, 80), seed=3))
    assert not torch.allclose(images, smooth_images(2, (48, 80), seed=4))


def test_neighbours_are_alike() -> None:
    image = smooth_images(1, (128, 128), seed=0)
    # Of white noise twice the variance.
    assert (image[..., 1:] - image[..., :-1]).var() < 0.3


def test_a_single_pixel_is_an_image() -> None:
    assert float(smooth_images(1, (1, 1), seed=0).abs().max()) == pytest.approx(0, abs=1e-6)

"""Cosines of two encoders' maps and embeddings."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.pruning.compare import compare_features
from support.small_encoders import Small


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_an_encoder_and_itself_are_alike() -> None:
    model = Small().eval()
    alike = compare_features(model, model, [images(2), images(1, 1)])
    assert alike.maps == pytest.approx([1.0, 1.0])
    assert alike.embedding == pytest.approx(1.0)
    assert alike.images == 3


def test_cosines_are_means_over_all_images_however_they_come_in_batches() -> None:
    a, b = Small(0.9).eval(), Small(0.4).eval()
    x = images(5)
    alike = compare_features(a, b, [x[:3], x[3:]])
    ours, theirs = ([m.detach().double() for m in model(x)] for model in (a, b))
    for found, u, v in zip(alike.maps, ours, theirs, strict=True):
        # Where the reference is zero there is no direction: it counts as alike.
        cosine = torch.where(u.abs().amax(1) > 0, F.cosine_similarity(v, u, dim=1), 1.0)
        assert found == pytest.approx(float(cosine.mean()), abs=1e-5)
    pooled = [m[-1].mean((2, 3)) for m in (ours, theirs)]
    assert alike.embedding == pytest.approx(float(F.cosine_similarity(*pooled).mean()), abs=1e-5)


def test_modes_stay_and_statistics_too() -> None:
    a, b = Small().train(), Small().eval()
    before = a.norm.running_mean.clone()
    compare_features(a, b, [images(2)])
    assert a.training
    assert not b.training
    assert torch.equal(a.norm.running_mean, before)


class Shrunk(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [m[..., :2] for m in Small().eval()(x)]


def test_maps_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected maps of shapes"):
        compare_features(Small().eval(), Shrunk(), [images(1)])


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one batch of images, got none"):
        compare_features(Small(), Small(), [])

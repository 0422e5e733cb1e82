"""What compress tells of a CLIP: how alike the dense and the compressed encoder see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.compression import Compressed
from support.small_clips import RN, VIT, small_backbone


def compress(module: nn.Module, images: Tensor, **options: object) -> Compressed:
    return sparse_ovs.compress(module, images, baselines=("eager",), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [RN, VIT])
def test_a_clip_is_judged_by_its_embedding_and_by_words(name: str) -> None:
    backbone = small_backbone(name)
    side = 32 if name == VIT else 64
    images = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    made = compress(backbone, images, density=0.5, vocabulary="cat; dog")
    quality = made.report.quality
    assert quality.embedding is not None
    assert quality.embedding > 0.85
    assert quality.classes in (0.0, 1.0)  # of one image
    assert quality.masks is not None
    assert 0 <= quality.masks <= 1
    assert len(made.pictures) == 1
    prefix = "transformer" if name == VIT else "layer"
    assert all(layer.startswith(prefix) for layer in made.masks)


@pytest.mark.parametrize("name", [RN, VIT])
def test_the_clip_of_what_was_compressed_sees_with_it(name: str) -> None:
    backbone = small_backbone(name)
    side = 32 if name == VIT else 64
    images = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    made = compress(backbone, images, density=0.5)
    filled = small_backbone(name)
    filled.load_state_dict(made.module.state_dict())
    with torch.no_grad():
        dense, expected, seen = (
            each.clip.model.encode_image(images) for each in (backbone, filled, made.module)
        )
    torch.testing.assert_close(seen, expected)
    assert not torch.allclose(seen, dense)


def test_words_for_what_is_no_clip_are_refused(module: nn.Module, images: Tensor) -> None:
    with pytest.raises(ValueError, match="expected a CLIP encoder for a vocabulary"):
        compress(module, images, density=0.5, vocabulary="cat; dog")

"""Caption grounding, against plain loops in fp64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.heads import grounding_loss


def unit(count: int, width: int = 6) -> Tensor:
    return F.normalize(torch.randn(count, width, dtype=torch.float64), dim=1)


def plain(regions: list[Tensor], words: list[Tensor], scale: float) -> float:
    by_word, by_region = (torch.zeros(len(regions), len(words)).double() for _ in range(2))
    for i, image in enumerate(regions):
        for j, caption in enumerate(words):
            for word in caption:
                logits = torch.stack([scale * region @ word for region in image])
                by_word[i, j] += sum(logits.softmax(0) * logits) / len(caption)
            for region in image:
                logits = torch.stack([scale * region @ word for word in caption])
                by_region[i, j] += sum(logits.softmax(0) * logits) / len(image)
    total = 0.0
    for table in (by_word, by_region, by_word.T, by_region.T):
        for k, row in enumerate(table):
            total -= float(row.log_softmax(0)[k]) / len(table)
    return total / 4


def test_the_loss_is_that_of_plain_loops() -> None:
    regions, words = [unit(3), unit(1), unit(5)], [unit(2), unit(4), unit(1)]
    scale = torch.tensor(14.0, dtype=torch.float64)
    assert grounding_loss(regions, words, scale).item() == pytest.approx(plain(regions, words, 14))


def test_images_that_show_their_captions_words_lose_least() -> None:
    words = [unit(2) for _ in range(4)]
    scale = torch.tensor(14.0).double()
    assert grounding_loss(words, words, scale) < grounding_loss(words[::-1], words, scale)


def test_no_more_than_25_regions_of_an_image_count() -> None:
    words, scale = [unit(2), unit(2)], torch.tensor(5.0).double()
    regions = [unit(30), unit(4)]
    fewer = [regions[0][:25], regions[1]]
    assert grounding_loss(regions, words, scale) == grounding_loss(fewer, words, scale)


def test_images_without_a_region_or_a_word_are_left_out() -> None:
    regions, words, scale = [unit(2), unit(3)], [unit(1), unit(2)], torch.tensor(5.0).double()
    more = grounding_loss([*regions, unit(0), unit(2)], [*words, unit(2), unit(0)], scale)
    torch.testing.assert_close(more, grounding_loss(regions, words, scale))


def test_one_image_has_nothing_to_be_told_from() -> None:
    region = unit(2).requires_grad_()
    loss = grounding_loss([region], [unit(1)], torch.tensor(5.0))
    loss.backward()
    assert loss == 0
    assert region.grad is not None
    assert not region.grad.any()


def test_every_image_needs_a_caption() -> None:
    with pytest.raises(ValueError, match="expected a caption for each of 2 images, got 1"):
        grounding_loss([unit(1), unit(1)], [unit(1)], torch.tensor(1.0))

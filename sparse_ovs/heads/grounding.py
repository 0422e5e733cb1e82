"""Caption grounding: images and captions find each other by regions and words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_REGIONS = 25


def grounding_loss(regions: Sequence[Tensor], words: Sequence[Tensor], scale: Tensor) -> Tensor:
    """How well each image is told from the others by its caption, and each caption by its image
    (Han et al., arXiv 2303.09181).

    With s the scale and C_rw the cosine of a region and a word, an image's distance from a caption
    is, in one direction, the mean over words of -s C_rw weighed by its softmax over regions; in the
    other, the mean over regions weighed by softmax over words. Of both distances of all images and
    captions, the cross-entropy is taken over images and over captions: the loss is the mean of the
    four.

    Args:
        regions: by image, unit vectors (q, D) of matched queries in CLIP's joint space; those after
            the first MOST_REGIONS are left out.
        words: by image, unit vectors (w, D) of its caption's words.
        scale: a scalar.

    Returns:
        A scalar; images without a region or a word are left out, and nothing is to be told apart
        where fewer than two remain: 0.

    Raises:
        ValueError: another number of images than of captions.
    """
    if len(regions) != len(words):
        raise ValueError(f"expected a caption for each of {len(regions)} images, got {len(words)}")
    pairs = [
        (image[:MOST_REGIONS], caption)
        for image, caption in zip(regions, words, strict=True)
        if len(image) and len(caption)
    ]
    if len(pairs) < 2:
        return sum((image.sum() for image in regions), scale) * 0
    distances = torch.stack(
        [
            torch.stack([_distances(image, caption, scale) for _, caption in pairs])
            for image, _ in pairs
        ]
    )  # (images, captions, 2)
    own = torch.arange(len(pairs), device=distances.device)
    losses = [
        F.cross_entropy(-table, own)
        for direction in distances.unbind(-1)
        for table in (direction, direction.T)
    ]
    return torch.stack(losses).mean()


def _distances(regions: Tensor, words: Tensor, scale: Tensor) -> Tensor:
    """(2,): words find regions, regions find words."""
    similarity = scale * regions @ words.T  # (q, w)
    return -torch.stack([(similarity.softmax(dim) * similarity).sum(dim).mean() for dim in (0, 1)])

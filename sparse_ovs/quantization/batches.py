"""The batches that a model is observed on, whatever people have them in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.data.image_folder import ImageFolder

Batches = Iterable[Any] | str | os.PathLike[str]


def tensors_of(batches: Batches, model: nn.Module) -> Iterator[Tensor]:
    """float32 tensors (N, C, H, W).

    Args:
        batches: see `sparse_ovs.quantize`.
        model: whose `preprocess` prepares a folder of images.

    Raises:
        ValueError, TypeError: something else, or no images at all.
    """
    if isinstance(batches, (str, os.PathLike)):
        preprocess = getattr(model, "preprocess", None)
        if preprocess is None:
            raise ValueError(
                "expected tensors for a model without `preprocess`, got a folder of images"
            )
        folder = ImageFolder(batches, preprocess)
        batches = (folder[number][None] for number in range(len(folder)))
    elif isinstance(batches, Tensor):
        batches = [batches]
    empty = True
    for batch in batches:
        empty = False
        yield _images_of(batch)
    if empty:
        raise ValueError("expected at least one batch of images, got none")


def _images_of(batch: Any) -> Tensor:
    if isinstance(batch, Mapping):
        batch = next(iter(batch.values()), None)
    elif isinstance(batch, (tuple, list)) and batch:
        batch = batch[0]
    if not isinstance(batch, Tensor):
        raise TypeError(f"expected batches of tensors, got {type(batch).__name__}")
    if batch.dtype != torch.float32 or batch.dim() != 4 or batch.shape[0] == 0:
        raise ValueError(
            f"expected float32 batches (N, C, H, W), got {batch.dtype} {tuple(batch.shape)}"
        )
    return batch

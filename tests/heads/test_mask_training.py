"""Mask heads learn: one scene by heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.data.scenes import Scenes
from sparse_ovs.heads import MaskHead, create_head
from sparse_ovs.text import TextEmbeddings, Vocabulary
from support.small_clips import small_backbone
from support.small_mask_heads import HEADS, draws


def scene() -> tuple[Tensor, Tensor, int]:
    """Pixels (1, 3, 64, 64), labels (1, 64, 64) from 0, and the number of classes."""
    sample = Scenes(size=64)[0]
    found, labels = np.unique(sample.labels, return_inverse=True)
    pixels = torch.from_numpy(np.asarray(sample.image) / 255).float().permute(2, 0, 1)[None]
    return pixels, torch.from_numpy(labels.reshape(1, 64, 64)).long(), len(found)


@pytest.mark.parametrize("name", HEADS)
def test_one_scene_is_learned_by_heart(name: str) -> None:
    pixels, labels, classes = scene()
    backbone = small_backbone()
    head = create_head(name, backbone, "small").train()
    assert isinstance(head, MaskHead)
    head.loss_settings = replace(head.loss_settings, points=256)
    rows = F.normalize(torch.randn(classes, 24), dim=1)
    text = TextEmbeddings(rows, Vocabulary(tuple((f"class {k}",) for k in range(classes))))
    with torch.no_grad():
        maps = backbone(pixels)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for step in range(40):
        optimizer.zero_grad()
        head.losses(head(maps, text), labels, draws(1, step))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        scores = head.predict(head(maps, text))
    found = F.interpolate(scores, (64, 64), mode="bilinear").argmax(1)
    for index in range(classes):
        ours, truth = found == index, labels == index
        assert float((ours & truth).sum() / (ours | truth).sum()) > 0.7

"""Zero-shot classification: how high the right name's text embedding ranks for an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sparse_ovs.backbones import Backbone
from sparse_ovs.text import Vocabulary, embed_vocabulary

Encode = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) -> embeddings (N, D)."""

_BATCH = 64


@torch.no_grad()
def ranks_of_names(
    backbone: Backbone,
    images: Sequence[Image.Image],
    wanted: Sequence[int],
    names: Sequence[str],
    templates: str | Sequence[str] = "bare",
    encode: Encode | None = None,
) -> Tensor:
    """(N,) int64: of each image, how many other names are nearer than the one that is wanted, 0
    where it is found.

    Args:
        backbone: a CLIP in eval mode.
        wanted: places in `names`, one an image.
        templates: see `embed_vocabulary`.
        encode: such as a compiled encoder's; None takes the backbone's CLIP.

    Raises:
        ValueError: words that the tokenizer does not know.
    """
    text = embed_vocabulary(backbone.clip, Vocabulary(tuple((name,) for name in names)), templates)
    model: Any = backbone.clip.model
    encode = encode or model.encode_image
    ranks = []
    pixels = torch.stack([backbone.preprocess(image) for image in images])
    for some, right in zip(pixels.split(_BATCH), torch.tensor(wanted).split(_BATCH), strict=True):
        embedded = F.normalize(encode(some.to(text.rows.device)), dim=1)
        near = text.similarity(embedded).cpu()
        ranks.append((near > near.gather(1, right[:, None])).sum(1))
    return torch.cat(ranks)

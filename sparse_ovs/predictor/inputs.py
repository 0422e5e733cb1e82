"""From pictures to what the encoder sees: resized, normalised, padded to whole strides."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sparse_ovs.heads.frame import Frame
from sparse_ovs.predictor.options import InputOptions


def frame_of(picture: Image.Image, options: InputOptions, stride: int) -> Frame:
    """Where a picture lies in the encoder's input: resized by the options, sides rounded to pixels,
    and padded to multiples of the stride, as detectron2 does."""
    width, height = picture.size
    scale = 1.0
    if options.size is not None:
        shorter, longer = sorted((width, height))
        scale = min(options.size / shorter, options.longest / longer)
    h, w = (max(1, int(side * scale + 0.5)) for side in (height, width))
    return Frame((height, width), (h, w), (-(-h // stride) * stride, -(-w // stride) * stride))


def to_pixels(
    picture: Image.Image, frame: Frame, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """RGB -> (1, 3, H, W) float32 of the frame's padded size: normalised, and zeros, the mean
    colour, right and below of it."""
    from torchvision.transforms.functional import normalize, pil_to_tensor  # slow to import

    (height, width), (full_h, full_w) = frame.content, frame.padded
    pixels = picture.resize((width, height), Image.Resampling.BICUBIC)
    x = normalize(pil_to_tensor(pixels).float().div_(255), list(mean), list(std), inplace=True)
    return F.pad(x, (0, full_w - width, 0, full_h - height))[None]

"""Maps upsampled strip by strip, so that all of them are never held at an image's size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.heads.frame import Frame

# Values that are held at once: 64 MB of fp32.
MOST_VALUES = 1 << 24


def strips(planes: int, frame: Frame, most: int = MOST_VALUES) -> Iterator[slice]:
    """The picture's rows, so many at a time that this many planes of them have at most `most`
    values, at the picture and at the encoder's input; at least a row."""
    height, width = frame.picture
    at_input = frame.padded[1] * frame.content[0] / height  # values by row of the picture
    rows = max(1, int(most / (max(1, planes) * max(width, at_input))))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def framed_rows(maps: Tensor, frame: Frame, wanted: slice) -> Tensor:
    """Some of the picture's rows of maps that cover the encoder's input: upsampled to the input,
    cut to its content, upsampled to the picture, bilinearly (as F.interpolate with
    align_corners=False).

    Args:
        maps: (P, h, w) floating point.
        frame: where the picture lies in the input.
        wanted: rows of the picture.

    Returns:
        (P, rows, W).
    """
    needed = input_rows(frame, wanted)
    content = upsampled_rows(maps, frame.padded, needed)[..., : frame.content[1]]
    return from_input(content, frame, needed, wanted)


def input_rows(frame: Frame, wanted: slice) -> slice:
    """The rows of the input that rows of the picture lie between."""
    above, below, _ = _places(frame.content[0], frame.picture[0], wanted, torch.empty(0))
    return slice(int(above[0]), int(below[-1]) + 1)


def from_input(content: Tensor, frame: Frame, given: slice, wanted: slice) -> Tensor:
    """Rows `wanted` of the picture, from the input's rows `given`, (P, rows, w), cut to its
    content."""
    if frame.picture == frame.content:
        return content[:, wanted.start - given.start : wanted.stop - given.start]
    return upsampled_rows(content, frame.picture, wanted, height=frame.content[0], top=given.start)


def upsampled_rows(
    maps: Tensor,
    size: tuple[int, int],
    wanted: slice,
    *,
    covered: tuple[float, float] | None = None,
    height: int | None = None,
    top: int = 0,
) -> Tensor:
    """Some rows of maps upsampled bilinearly (as F.interpolate, align_corners=False).

    Args:
        maps: (P, h, w).
        size: (H, W) of the upsampled maps.
        wanted: of their rows.
        covered: how many rows and columns of the maps are upsampled to this size, from the first
            on; None for all.
        height, top: where `maps` are rows of higher ones: the height of those, and the first row.

    Returns:
        (P, rows, W).
    """
    tall = maps.shape[1] if height is None else height
    above, below, weight = _places(tall, size[0], wanted, maps, covered and covered[0])
    first, last = int(above[0]), int(below[-1]) + 1
    part = maps[:, first - top : last - top]
    if covered is not None:
        left, right, across = _places(maps.shape[2], size[1], slice(0, size[1]), maps, covered[1])
        part = torch.lerp(part[..., left], part[..., right], across)
    elif part.shape[2] != size[1]:
        shape = (last - first, size[1])
        part = F.interpolate(part[None], shape, mode="bilinear", align_corners=False)[0]
    return torch.lerp(part[:, above - first], part[:, below - first], weight[:, None])


def _places(
    cells: int, pixels: int, wanted: slice, like: Tensor, covered: float | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Between which cells pixels of one side lie, and the weight of the second."""
    at = torch.arange(wanted.start, wanted.stop, dtype=torch.float64, device=like.device) + 0.5
    at = (at * ((covered or cells) / pixels) - 0.5).clamp(0, cells - 1)
    above = at.floor().long()
    return above, (above + 1).clamp(max=cells - 1), (at - above).to(like.dtype)

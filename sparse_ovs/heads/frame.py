"""Where a picture lies in what the encoder sees."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """A picture is resized and then padded with zeros, right and below, to the encoder's input.

    Attributes:
        picture: (H, W) in pixels.
        content: (H, W) of the picture as resized, at the input's top left.
        padded: (H, W) of the input.
    """

    picture: tuple[int, int]
    content: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def of_size(cls, size: tuple[int, int]) -> Frame:
        """Of a picture (H, W) that the encoder sees as it is."""
        return cls(size, size, size)

    def covered(self, cells: tuple[int, int]) -> tuple[float, float]:
        """How many rows and columns the picture lies over of maps (.., h, w) that cover the input
        evenly."""
        (h, w), (height, width), (full_h, full_w) = cells, self.content, self.padded
        return h * height / full_h, w * width / full_w

"""What runs as one step of a plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepInfo:
    """What runs as one step of a plan.

    Attributes:
        record: number of the program's record; of a copy, of the one that it serves.
        strip_group: steps with the same number run together, strip by strip; None runs alone.
        backend: what computes it, in a word or two.
        shape: (N, C, H, W) of its output.
        tile: pixels of a tile in which the output lies: H * W is NCHW, 1 is NHWC.
        density: of its weights; 1 without any.
        tile_rows, tile_cols: output pixels of a tile; 0 for a step without tiles.
        k_tile: input channels of a panel.
        row_parts: parts that the output channels are split in.
        panel: how a panel holds the pixels; "" for a step without tiles.
    """

    record: int
    strip_group: int | None
    backend: str
    shape: tuple[int, int, int, int]
    tile: int
    density: float
    tile_rows: int
    tile_cols: int
    k_tile: int
    row_parts: int
    panel: str

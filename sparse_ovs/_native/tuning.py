"""Sizes that a convolution runs with, and the place where they are timed."""

from __future__ import annotations

from dataclasses import dataclass

from sparse_ovs._native.structures import TUNING_FIELDS, Conv2dParams, Conv2dPlace, TuningStructure

PANELS = ("", "halo", "shifted", "taps")  # by sovs_panel, after AUTO


@dataclass(frozen=True)
class Tuning:
    """Sizes that a convolution runs with; 0 lets the library choose. Never changes a result.

    Attributes:
        tile_rows, tile_cols: output pixels of a tile.
        k_tile: input channels of a panel.
        row_parts: parts that the output channels are split in.
        panel: how a panel holds the pixels: 1 halo, 2 shifted, 3 taps.

    Raises:
        ValueError: a field that is no such number.
    """

    tile_rows: int = 0
    tile_cols: int = 0
    k_tile: int = 0
    row_parts: int = 0
    panel: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most = len(PANELS) - 1 if name == "panel" else 2**31 - 1
            if type(value) is not int or not 0 <= value <= most:
                raise ValueError(f"expected {name} from 0 to {most}, got {value!r}")


def tuning_structure(tuning: Tuning) -> TuningStructure:
    """As the library takes it."""
    return TuningStructure(*(getattr(tuning, name) for name, _ in TUNING_FIELDS))


@dataclass(frozen=True)
class ConvSpot:
    """A convolution inside a plan, to be timed.

    Attributes:
        size: (N, H, W) of its input.
        stride, padding, dilation: (vertical, horizontal).
        pixel_major: a plan may lay out its maps pixel by pixel, as the dense 3x3 kernels want them:
            neither is the caller's, nor takes part in a residual add.
    """

    size: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    pixel_major: bool

    def structures(self) -> tuple[Conv2dParams, Conv2dPlace]:
        """As the library takes them."""
        params = Conv2dParams(*self.stride, *self.padding, *self.dilation, 0)
        return params, Conv2dPlace(*self.size, int(self.pixel_major))

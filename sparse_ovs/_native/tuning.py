"""Sizes that a convolution runs with, and the place where they are timed."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from enum import IntEnum

from sparse_ovs._native.structures import (
    BF16,
    FLOAT32,
    Conv2dParams,
    Conv2dPlace,
    TuningStructure,
)

ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "quick_gelu", "relu6")  # by sovs_activation
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
    return TuningStructure(*astuple(tuning))


def tuning_of(given: TuningStructure) -> Tuning:
    """As the library gives it."""
    return Tuning(*(getattr(given, field.name) for field in fields(Tuning)))


class MapPlace(IntEnum):
    """Where a plan's map lies, see sovs_map_place: as the caller's (N, C, H, W) or (N, H, W, C), in
    the plan's own tiles, or as the steps beside it want it."""

    NCHW = 0
    NHWC = 1
    TILED = 2
    FREE = 3


@dataclass(frozen=True)
class ConvSpot:
    """A convolution inside a plan, to be timed.

    Attributes:
        size: (N, H, W) of its input.
        stride, padding, dilation: (vertical, horizontal).
        activation: one of ACTIVATIONS.
        input, output: where its maps lie.
        residual: it adds one.
        alone: it is the plan's only step, on the caller's maps.
        bf16: its maps are bf16 (of s8 weights they are u8); else float32.
    """

    size: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    activation: str
    input: MapPlace
    output: MapPlace
    residual: bool
    alone: bool
    bf16: bool = False

    def structures(self) -> tuple[Conv2dParams, Conv2dPlace]:
        """As the library takes them."""
        params = Conv2dParams(
            *self.stride, *self.padding, *self.dilation, ACTIVATIONS.index(self.activation)
        )
        maps = int(self.input), int(self.output)
        dtype = BF16 if self.bf16 else FLOAT32
        return params, Conv2dPlace(*self.size, *maps, int(self.residual), int(self.alone), dtype)

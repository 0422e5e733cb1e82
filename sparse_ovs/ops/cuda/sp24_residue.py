"""Launches `sp24_residue`: any sparse weight on sparse tensor cores, 2:4 and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sparse_ovs.conv_size import checked_output_size
from sparse_ovs.formats import TwoFourWeight
from sparse_ovs.ops.cuda.launch import (
    DTYPE_NUMBERS,
    Launch,
    aligned,
    ceil_div,
    check_additions,
    check_input,
    int32s,
)


@dataclass(frozen=True)
class Tile:
    """What a block of threads computes.

    Attributes:
        rows: output channels, a multiple of 16 * warps_rows.
        pixels: a multiple of 32 and of 8 * warps_pixels.
        warps_rows, warps_pixels: how its warps share them.
        stages: steps of 64 channels held in shared memory, at least 2.
        blocks: that a multiprocessor shall hold at once; the compiler shares its registers among
            them, and spills some where it is not told.
    """

    rows: int
    pixels: int
    warps_rows: int
    warps_pixels: int
    stages: int
    blocks: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * self.warps_rows * self.warps_pixels

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory: the pipeline, or the sums, which follow it in the same place."""
        row_tiles = self.rows // 16
        stage = self.pixels * 64 * 2 + row_tiles * (2 * 32 * 16 + 32 * 4)
        return max(self.stages * stage, self.rows * (self.pixels + 1) * 4)

    def defines(self) -> dict[str, int]:
        """Its macros."""
        return {
            "ROWS": self.rows,
            "PIXELS": self.pixels,
            "WARPS_ROWS": self.warps_rows,
            "WARPS_PIXELS": self.warps_pixels,
            "STAGES": self.stages,
            "BLOCKS": self.blocks,
        }


# Largest first: they read the fewest bytes for a product, and need the most of them to fill a GPU.
TILES = (Tile(128, 128, 4, 2, 3, 1), Tile(64, 64, 2, 2, 3, 3), Tile(64, 32, 4, 1, 4, 4))
# Most of the 108 multiprocessors of an A100 have one. By the bounds of docs/gpu.md a larger tile is
# worth more than the last few of them, and less than half.
_BLOCKS_WANTED = 96


def sp24_conv2d(
    x: Tensor,
    weight: TwoFourWeight,
    bias: Tensor | None = None,
    added: Tensor | None = None,
    *,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    relu: bool = False,
    tile: Tile | None = None,
) -> tuple[Launch, Tensor]:
    """[relu](conv2d(x, weight) + bias + added), summed in float32.

    Where x is not finite, zeros that fill slots of a group of four give NaN in outputs that the
    kept weights do not lead to.

    Args:
        x: (N, I, H, W) of the weight's dtype; channels_last is read as it is. Its channels are in
            the order of weight.channel_order.
        weight: of shape (O, I, kh, kw).
        bias: (O,) float32.
        added: of the output's shape and dtype.
        stride, padding, dilation: of the two directions.
        relu: last.
        tile: None takes the largest that gives most multiprocessors a block.

    Returns:
        The launch, and the output (N, O, OH, OW), channels_last, which it fills.

    Raises:
        TypeError, ValueError: other dtypes, shapes or devices.
    """
    check_input(x, weight, 4, 1)
    if len(weight.shape) != 4:
        raise ValueError(f"expected a weight (O, I, kh, kw), got {weight.shape}")
    kernel = weight.shape[2:]
    size = checked_output_size(x.shape[2:], kernel, stride, padding, dilation)
    y = x.new_empty(x.shape[0], *size, weight.shape[0])
    check_additions(bias, added, y.permute(0, 3, 1, 2), 1)
    pointwise = (*kernel, *stride, *padding) == (1, 1, 1, 1, 0, 0)
    launch = _launch(
        x.permute(0, 2, 3, 1).contiguous(),
        weight,
        bias,
        None if added is None else added.permute(0, 2, 3, 1).contiguous(),
        y,
        (kernel[1], *stride, *padding, *dilation),
        pointwise,
        relu,
        tile,
    )
    return launch, y.permute(0, 3, 1, 2)


def sp24_linear(
    x: Tensor,
    weight: TwoFourWeight,
    bias: Tensor | None = None,
    added: Tensor | None = None,
    *,
    relu: bool = False,
    tile: Tile | None = None,
) -> tuple[Launch, Tensor]:
    """[relu](x @ weight.T + bias + added), summed in float32.

    Args:
        x: (N, I) of the weight's dtype, its columns in the order of weight.channel_order.
        weight: of shape (O, I).

    Returns:
        The launch, and the output (N, O), which it fills. See `sp24_conv2d` for the rest.
    """
    check_input(x, weight, 2, 1)
    if len(weight.shape) != 2:
        raise ValueError(f"expected a weight (O, I), got {weight.shape}")
    y = x.new_empty(x.shape[0], weight.shape[0])
    check_additions(bias, added, y, 1)
    launch = _launch(
        x.contiguous()[:, None, None],
        weight,
        bias,
        None if added is None else added.contiguous(),
        y[:, None, None],
        (1, 1, 1, 0, 0, 1, 1),
        True,
        relu,
        tile,
    )
    return launch, y


def _launch(
    x: Tensor,
    weight: TwoFourWeight,
    bias: Tensor | None,
    added: Tensor | None,
    y: Tensor,
    window: tuple[int, ...],
    pointwise: bool,
    relu: bool,
    tile: Tile | None,
) -> Launch:
    """x and y are (N, H, W, channels), contiguous; window is the kernel's width, the strides,
    paddings and dilations."""
    out_channels, pixels = y.shape[3], y.shape[:3].numel()
    tile = _default_tile(out_channels, pixels) if tile is None else tile
    defines = {
        **tile.defines(),
        "DTYPE": DTYPE_NUMBERS[x.dtype],
        "POINTWISE": int(pointwise),
        "CHANNELS_ALIGNED": int(aligned(x.shape[3], 8, x)),
        "OUT_ALIGNED": int(aligned(out_channels, 8, y, added)),
    }
    residue = weight.residue
    return Launch(
        "sp24_residue",
        defines,
        (ceil_div(pixels, tile.pixels), ceil_div(out_channels, tile.rows), 1),
        tile.threads,
        tile.shared_bytes,
        (
            x,
            weight.values,
            weight.metadata,
            residue.values,
            residue.columns,
            residue.row_ptr,
            None if bias is None else bias.contiguous(),
            added,
            y,
            *int32s(weight.steps, *x.shape[1:], *y.shape[1:], *window, pixels, int(relu)),
        ),
    )


def _default_tile(out_channels: int, pixels: int) -> Tile:
    for tile in TILES:
        if ceil_div(pixels, tile.pixels) * ceil_div(out_channels, tile.rows) >= _BLOCKS_WANTED:
            return tile
    return TILES[-1]

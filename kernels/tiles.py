"""How a BSR kernel is cut: rows of activations a program, warps, and pipeline stages."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sparse_ovs.kernels.contracts import PRECISIONS


class Tile(NamedTuple):
    """rows of activations (pixels) a program, warps of it, stages of its main loop."""

    rows: int
    warps: int
    stages: int

    def constants(self, block: tuple[int, int], precision: str) -> dict[str, int | str]:
        """Of a kernel whose sums are rows of activations by one side of a block (R, C)."""
        return self._constants(block, precision, self.warps, self.stages)

    def weight_gradient_constants(
        self, block: tuple[int, int], precision: str
    ) -> dict[str, int | str]:
        """Of a kernel whose sums are a block (R, C).

        Warps: at most one for each 16 x 8, the least a tensor core makes; more would compute the
        same sums, and store them over each other. Stages: no load follows an index, so that none
        is needed for it.
        """
        warps = min(self.warps, max(1, block[0] * block[1] // 128))
        return self._constants(block, precision, warps, self.stages - 1)

    def _constants(
        self, block: tuple[int, int], precision: str, warps: int, stages: int
    ) -> dict[str, int | str]:
        return {
            "BLOCK_M": self.rows,
            "BLOCK_O": block[0],
            "BLOCK_I": block[1],
            "PRECISION": precision,
            "STAGES": stages,
            "num_warps": warps,
            "num_stages": stages,
        }


# Blocks (R, C) that the kernels are built and tested for.
BLOCKS = ((16, 16), (16, 64), (32, 32), (64, 64))

# 16-wide blocks read each activation for 16 outputs only: 128 rows, so that weights at least are
# shared. Fewer than 64 rows would miss the warpgroup instructions of sm_90. Loads that follow an
# index take one stage for the index: five buffer the next block while one is multiplied.
_HALF = {
    (16, 16): Tile(128, 4, 5),
    (16, 64): Tile(128, 4, 5),
    (32, 32): Tile(64, 4, 5),
    (64, 64): Tile(64, 4, 5),
}
_TF32 = {
    (16, 16): Tile(128, 4, 5),
    (16, 64): Tile(64, 4, 5),
    (32, 32): Tile(64, 4, 5),
    (64, 64): Tile(64, 4, 5),
}
# No tensor cores; larger tiles spill.
_IEEE = {
    (16, 16): Tile(32, 4, 3),
    (16, 64): Tile(32, 4, 3),
    (32, 32): Tile(32, 4, 3),
}


def tile_for(block: tuple[int, int], dtype: torch.dtype, precision: str = "tf32") -> Tile:
    """The tile of a block shape (R, C).

    Args:
        precision: of float32 products, "tf32" or "ieee"; halves are multiplied exactly, and summed
            in float32, under both.

    Raises:
        ValueError: blocks that no kernel is built for, or another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"expected precision 'tf32' or 'ieee', got {precision!r}")
    tiles = _HALF if dtype != torch.float32 else _TF32 if precision == "tf32" else _IEEE
    if block not in tiles:
        names = ", ".join(f"{r}x{c}" for r, c in tiles)
        raise ValueError(
            f"expected {dtype} blocks of {names} (precision {precision}), got {block[0]}x{block[1]}"
        )
    return tiles[block]


def weight_gradient_tile_for(
    block: tuple[int, int], dtype: torch.dtype, precision: str = "tf32"
) -> Tile:
    """The tile of a weight gradient, where both operands are read across their rows.

    The warpgroup instructions of sm_90 take float32 only along its rows. To transpose, the compiler
    copies 4 bytes at a time, eight of them into the same bank of shared memory: two warps are too
    few for a warpgroup, and multiply what is copied 16 bytes at a time.

    Args:
        block, dtype, precision: see `tile_for`.

    Raises:
        ValueError: see `tile_for`.
    """
    tile = tile_for(block, dtype, precision)
    if dtype == torch.float32 and block == (64, 64):
        return tile._replace(rows=32, warps=2)
    return tile

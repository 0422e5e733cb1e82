"""Columns of sparse weights as int8 plan files hold them: a byte for most of them."""

from __future__ import annotations

import torch
from torch import Tensor

_GO_ON = 255  # leaves out that many columns and goes on


def column_gaps(columns: Tensor, counts: Tensor) -> Tensor:
    """How many columns each one leaves out behind the one before it, as bytes.

    Args:
        columns: (blocks,) ascending in each block row; what lies before a row's first one is -1.
        counts: (block rows,) of each row's columns.

    Returns:
        uint8: for each column its gap, as bytes of 255 that add up, and one below 255.
    """
    before = torch.roll(columns.long(), 1)
    before[(counts.cumsum(0) - counts)[counts > 0]] = -1
    gaps = columns.long() - before - 1
    lengths = gaps // _GO_ON + 1
    made = torch.full((int(lengths.sum()),), _GO_ON, dtype=torch.uint8)
    made[lengths.cumsum(0) - 1] = (gaps % _GO_ON).to(torch.uint8)
    return made

"""The dtype that losses and logarithms are computed in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_fp32(x: Tensor) -> Tensor:
    """Half precision as fp32; wider types as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

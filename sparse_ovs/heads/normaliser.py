"""What sums of losses are divided by, in one process or in several."""

from __future__ import annotations

import torch
from torch import Tensor


def shared_count(count: Tensor) -> Tensor:
    """The mean of a count over all processes that train together, but at least one in all of them.

    Each process divides its own sum of losses by it: the mean over the processes, which is what
    data-parallel training takes of gradients, is then the sum over all processes divided by the
    count over all processes, whatever part of the batch each has.

    Args:
        count: of this process, of any dtype, a scalar or several counts; no gradient flows into
            them.

    Returns:
        The same shape, float32 (float64 for float64 counts).
    """
    total = count.detach().to(torch.promote_types(count.dtype, torch.float32)).clone()
    processes = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
        processes = torch.distributed.get_world_size()
    return total.clamp(min=1) / processes

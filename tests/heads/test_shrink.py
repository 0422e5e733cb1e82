"""Maps are made smaller as torch's bilinear interpolation does it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sparse_ovs.heads.shrink import shrunk
from support.oracles import assert_as_exact_as_torch


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((12, 20), (6, 10)),
        ((12, 20), (3, 5)),
        ((12, 24), (2, 4)),
        ((16, 24), (2, 3)),
        ((9, 15), (3, 5)),  # an odd factor
        ((12, 20), (6, 7)),  # two factors
        ((13, 20), (6, 10)),
        ((3, 5), (6, 10)),  # larger
        ((6, 10), (6, 10)),
    ],
)
def test_a_shrunk_map_is_that_of_interpolation(
    size: tuple[int, int], to: tuple[int, int], channels_last: bool
) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, *size)
    if channels_last:
        maps = maps.contiguous(memory_format=torch.channels_last)
    exact, plain = (
        F.interpolate(x, to, mode="bilinear", align_corners=False) for x in (maps.double(), maps)
    )
    assert_as_exact_as_torch(shrunk(maps, *to), exact, plain)

"""Dilation: CLIP ResNets whose last stages keep their resolution, computation-equal on the grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from sparse_ovs.nn.atrous_pool import AtrousPool2x2

OUTPUT_STRIDES = (8, 16, 32)
_FIRST_STRIDE = 4  # of layer1


def dilate(stages: Sequence[nn.Sequential], output_stride: int) -> None:
    """Takes the stride out of the stages beyond `output_stride`, in place; their weights stay.

    The à-trous form of the same computation: a stage's stride lies in the 2x2 average pooling
    of its first block, which becomes one with stride 1, whose taps are as far apart as neighbours
    of the undilated map; 3x3 convolutions after it are dilated by twice that. So the strided
    network's map is every second (or fourth) value of the dilated one's, at the border too, where
    the strided maps' sizes are whole.

    Args:
        stages: layer1 to layer4, each of open_clip's bottlenecks.
        output_stride: 8, 16 or 32.
    """
    stride, dilation = _FIRST_STRIDE, 1
    for number, stage in enumerate(stages):
        blocks: list[Any] = list(stage)
        after = dilation
        if number > 0 and stride == output_stride:
            blocks[0].avgpool = AtrousPool2x2(dilation)
            blocks[0].downsample._modules["-1"] = AtrousPool2x2(dilation)
            after = 2 * dilation
        elif number > 0:
            stride *= 2
        for block, own in zip(blocks, [dilation] + [after] * len(blocks[1:]), strict=True):
            block.conv2.dilation = block.conv2.padding = (own, own)
        dilation = after

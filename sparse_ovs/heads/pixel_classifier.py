"""Class logits of every cell of a map, by its cosines to a vocabulary's text embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import ClipParts
from sparse_ovs.heads.classifier import TextClassifier, joint_width, zero
from sparse_ovs.text import TextEmbeddings

_LEAST_LENGTH = 1e-12  # as F.normalize


class PixelClassifier(nn.Module):
    """A linear layer into CLIP's joint space, then TextClassifier.

    Args:
        dim: channels of the map.
        clip: whose joint space it is.
        adds: the layer's vectors are added to others, and begin at zero.
    """

    def __init__(self, dim: int, clip: ClipParts, adds: bool = False) -> None:
        super().__init__()
        self.project = nn.Conv2d(dim, joint_width(clip), 1)
        if adds:
            zero(self.project)
        self.classify = TextClassifier(joint_width(clip))

    def forward(self, x: Tensor, text: TextEmbeddings, to: Tensor | None = None) -> Tensor:
        """(N, dim, h, w) -> logits (N, K + 1, h, w), the last of "no object".

        Args:
            to: (N, D, h', w'), vectors of the joint space that the layer's are added to, after they
                are upsampled.
        """
        if to is None and not torch.is_grad_enabled():
            return self._in_own_space(x, text)
        joint = self.project(x)
        if to is not None:
            joint = joint + F.interpolate(to, x.shape[2:], mode="bilinear", align_corners=False)
        cells = F.normalize(joint, dim=1).flatten(2).transpose(1, 2)
        return self.classify(cells, text).transpose(1, 2).unflatten(2, x.shape[2:])

    def _in_own_space(self, x: Tensor, text: TextEmbeddings) -> Tensor:
        """The same without gradients, and without vectors of the joint space, which is wider than
        the map: t . Ax = (tA) . x, and the length of Ax is that of Rx, where A = QR."""
        bias = self.project.bias
        assert bias is not None
        joint = torch.cat([self.project.weight.flatten(1), bias[:, None]], 1)  # (D, dim + 1)
        triangle = torch.linalg.qr(joint.float(), mode="r").R.to(joint.dtype)
        # Cells in a row; their last channel is the bias's.
        cells = F.pad(x.flatten(2), (0, 0, 0, 1), value=1.0)
        void = F.normalize(self.classify.void, dim=1) @ joint
        scores = torch.cat([text.projected(joint).similarity(cells), void @ cells], 1)
        length = (triangle @ cells).norm(dim=1, keepdim=True).clamp(min=_LEAST_LENGTH)
        return (scores * (self.classify.scale() / length)).unflatten(2, x.shape[2:])

"""Exponential moving average of a model's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """A copy of a model whose parameters follow p_ema <- decay * p_ema + (1 - decay) * p.

    Buffers (BatchNorm's statistics are averages already) are copied. Make it of the model itself,
    not of its DistributedDataParallel wrapper.

    Args:
        model: the one that is trained.
        decay: in [0, 1).

    Attributes:
        model: the copy, in eval mode, without gradients.

    Raises:
        ValueError: another decay.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"expected a decay in [0, 1), got {decay}")
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._source = model

    @torch.no_grad()
    def update(self) -> None:
        """Follows the trained model by one step."""
        ours: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(self._source.parameters())
        torch._foreach_lerp_(ours, theirs, 1.0 - self.decay)
        for own, buffer in zip(self.model.buffers(), self._source.buffers(), strict=True):
            own.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """The copy's state."""
        return dict(self.model.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts it back."""
        self.model.load_state_dict(state)

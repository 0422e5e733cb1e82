"""Heads whose queries have masks of their own, which panoptic and instance results need."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from sparse_ovs.heads import Head


@runtime_checkable
class MaskPredictor(Protocol):
    """A head whose output has `mask_logits`, (N, Q, h, w)."""

    def class_probabilities(self, output: Any) -> Tensor:
        """(N, Q, K + 1), the last of "no object"."""


def mask_predictor(head: Head, result: str) -> MaskPredictor:
    """The head, which has to predict masks for such a result.

    Raises:
        ValueError: it predicts none.
    """
    if not isinstance(head, MaskPredictor):
        raise ValueError(
            f"expected a head that predicts masks for {result} results, got {head.name}, which "
            "scores pixels"
        )
    return head

"""The parts of CLIP that open-vocabulary heads need beside the trunk."""

from __future__ import annotations

from typing import Any

import open_clip
from torch import Tensor, nn


class ClipParts:
    """A plain holder, so that the trunk's parameters and state_dict are the trunk's alone.

    Attributes:
        name: open_clip's model name.
        model: the whole open_clip model; its image tower shares the trunk's modules.
        random_parts: in words, what has no trained weights: "image encoder", "image projection"
            (attention pool, or last norm and projection), "text tower".
    """

    def __init__(self, name: str, model: nn.Module) -> None:
        self.name = name
        self.model = model
        self.random_parts: tuple[str, ...] = ()
        self._tokenizer: Any = None

    @property
    def visual(self) -> nn.Module:
        """open_clip's image tower."""
        return self.model.visual  # type: ignore[return-value]

    @property
    def attention_pool(self) -> nn.Module | None:
        """CLIP ResNet's attention pool; None for the other families."""
        return getattr(self.visual, "attnpool", None)

    @property
    def logit_scale(self) -> Tensor:
        """Logarithm of the learned scale of the similarities."""
        return self.model.logit_scale  # type: ignore[return-value]

    @property
    def tokenizer(self) -> Any:
        """open_clip's tokenizer for the text tower: list of strings -> (N, context length)
        int64."""
        if self._tokenizer is None:
            self._tokenizer = open_clip.get_tokenizer(self.name)
        return self._tokenizer

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """(N, context length) -> (N, D)."""
        return self.model.encode_text(tokens, normalize=normalize)  # type: ignore[operator]

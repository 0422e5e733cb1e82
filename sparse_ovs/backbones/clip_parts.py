"""The parts of CLIP that open-vocabulary heads need beside the trunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from sparse_ovs.backbones.word_tokenizer import WordTokenizer


class ClipParts:
    """A plain holder, so that the trunk's parameters and state_dict are the trunk's alone.

    Attributes:
        name: open_clip's model name.
        model: the whole open_clip model; its image tower shares the trunk's modules.
        random_parts: in words, what has no trained weights: "image encoder", "image projection"
            (attention pool, or last norm and projection), "text tower".
    """

    def __init__(self, name: str, model: nn.Module, random_parts: tuple[str, ...] = ()) -> None:
        self.name = name
        self.model = model
        self.random_parts = random_parts
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

    def preprocess(self) -> Callable[..., Tensor]:
        """PIL image -> (3, H, W), as the model was trained."""
        from open_clip.transform import PreprocessCfg, image_transform_v2

        visual: Any = self.visual
        return image_transform_v2(PreprocessCfg(**visual.preprocess_cfg), is_train=False)

    @property
    def tokenizer(self) -> Any:
        """The text tower's tokenizer: list of strings -> (N, context length) int64. open_clip's,
        or a WordTokenizer where the model's config lists words."""
        if self._tokenizer is None:
            import open_clip

            text: dict[str, Any] = open_clip.get_model_config(self.name)["text_cfg"]
            words = text.get("tokenizer_kwargs", {}).get("words")
            self._tokenizer = (
                open_clip.get_tokenizer(self.name)
                if words is None
                else WordTokenizer(words, text["context_length"])
            )
        return self._tokenizer

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """(N, context length) -> (N, D)."""
        return self.model.encode_text(tokens, normalize=normalize)  # type: ignore[operator]

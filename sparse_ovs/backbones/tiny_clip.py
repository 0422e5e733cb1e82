"""Tiny CLIPs that the package brings: configs of open_clip, and weights by tag.

scenes-RN50: a ModifiedResNet of RN50's 3, 4, 6 and 3 blocks, 8 channels wide, and a text tower of
two layers that knows the words of the procedural scenes; "scenes-imp10" is its trunk pruned to a
tenth of its weights, under the same pool and text tower. `examples/tiny_clip` made both.

emoji-RN50: the same blocks, 16 channels wide, and the words of 200 things that emoji show; recipe
"emoji-clip".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True)
class TinyWeights:
    """A whole CLIP's state_dict, and a pruned trunk of ours to be put into it, if any."""

    clip: Path
    trunk: Path | None = None


WEIGHTS = {
    ("scenes-RN50", "scenes"): TinyWeights(_FOLDER / "scenes-RN50.safetensors"),
    ("scenes-RN50", "scenes-imp10"): TinyWeights(
        _FOLDER / "scenes-RN50.safetensors", _FOLDER / "scenes-RN50-imp10.safetensors"
    ),
    ("emoji-RN50", "emoji"): TinyWeights(_FOLDER / "emoji-RN50.safetensors"),
}
"""By model and tag."""


def register() -> None:
    """Makes open_clip know them by name."""
    import open_clip

    known = open_clip.list_models()
    for config in sorted(_FOLDER.glob("*.json")):
        if config.stem not in known:
            open_clip.add_model_config(config)


def tiny_weights(name: str, pretrained: str | os.PathLike[str] | None) -> TinyWeights | None:
    """None where the tag is none of the package's own."""
    return WEIGHTS.get((name, str(pretrained)))


def tags_of(name: str) -> list[str]:
    """The package's own tags of a model."""
    return [tag for model, tag in WEIGHTS if model == name]

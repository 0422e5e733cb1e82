"""scenes-RN50: a tiny CLIP with the structure of RN50, for procedural scenes and without downloads.

A ModifiedResNet of 3, 4, 6 and 3 blocks and width 8, and a text tower of two layers that knows the
words of the scenes. Its config lies with the package; so do its weights, as the tag "scenes", and a
trunk that was pruned to a tenth of its weights under the same pool and text tower, as the tag
"scenes-imp10". `examples/tiny_clip` made both.
"""

from __future__ import annotations

import os
from pathlib import Path

NAME = "scenes-RN50"
TAG = "scenes"
PRUNED_TAG = "scenes-imp10"
_FOLDER = Path(__file__).parent / "models"
WEIGHTS = _FOLDER / f"{NAME}.safetensors"
PRUNED_TRUNK = _FOLDER / f"{NAME}-imp10.safetensors"


def register() -> None:
    """Makes open_clip know them by name."""
    import open_clip

    known = open_clip.list_models()
    for config in sorted(_FOLDER.glob("*.json")):
        if config.stem not in known:
            open_clip.add_model_config(config)


def is_pruned(name: str, pretrained: str | os.PathLike[str] | None) -> bool:
    """Whether the pruned trunk is asked for."""
    return (name, pretrained) == (NAME, PRUNED_TAG)

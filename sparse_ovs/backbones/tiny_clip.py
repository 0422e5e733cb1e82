"""scenes-RN50: a tiny CLIP with the structure of RN50, for procedural scenes and without downloads.

A ModifiedResNet of 3, 4, 6 and 3 blocks and width 8, and a text tower of two layers that knows the
words of the scenes. Its config lies with the package; so do its weights, as the tag "scenes".
"""

from __future__ import annotations

from pathlib import Path

import open_clip

NAME = "scenes-RN50"
TAG = "scenes"
WEIGHTS = Path(__file__).parent / "models" / f"{NAME}.safetensors"


def register() -> None:
    """Makes open_clip know it by name."""
    if NAME not in open_clip.list_models():
        open_clip.add_model_config(WEIGHTS.with_suffix(".json"))

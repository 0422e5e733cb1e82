"""Training in miniature: the smallest CLIP, a small mask head, scenes of 64 pixels."""

from __future__ import annotations

from typing import Any

from sparse_ovs.training import SegmentationTraining, build
from support.small_clips import RN, register_small_clips

_TABLES: dict[str, dict[str, Any]] = {
    "model": {
        "backbone": RN,
        "pretrained": "",
        "head": "maskformer",
        "sizes": {
            "dim": 32,
            "heads": 2,
            "queries": 8,
            "pixel_layers": 1,
            "pixel_ffn": 16,
            "decoder_layers": 3,
            "ffn": 16,
        },
    },
    "data": {
        "dataset": "scenes",
        "options": {"size": 64, "count": 12},
        "crop": 64,
        "workers": 0,
    },
    "optimizer": {"lr": 1e-3, "clip_norm": 1.0},
    "schedule": {"name": "poly"},
    "run": {"steps": 4, "batch": 4, "checkpoint_every": 2, "log_every": 1},
    "losses": {"points": 64},
}


def small_settings(**tables: Any) -> SegmentationTraining:
    """Settings with some changed, table by table."""
    register_small_clips()
    made = {name: dict(table) for name, table in _TABLES.items()}
    for name, table in tables.items():
        made[name] = made.get(name, {}) | table
    return build(SegmentationTraining, made)

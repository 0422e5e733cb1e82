"""Trains in one of several processes of accelerate, for the test of them, or alone to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from sparse_ovs.loop import launched
from sparse_ovs.training import train_segmenter
from support.small_training import small_settings


def train(folder: Path, resume: bool = False, steps: int = 4) -> None:
    """Always the same run, at a rate that lets no rounding grow."""
    torch.set_num_threads(1)
    settings = small_settings(run={"steps": steps}, optimizer={"lr": 2e-5})
    train_segmenter(settings, folder, resume, processes=launched())


if __name__ == "__main__":
    train(Path(sys.argv[1]), "resume" in sys.argv[3:], int(sys.argv[2]))

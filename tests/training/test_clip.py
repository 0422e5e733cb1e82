"""Contrastive pretraining, in a few steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from sparse_ovs import create_backbone
from sparse_ovs.training import ClipTraining, train_clip
from sparse_ovs.training.clip import save_clip

SETTINGS = ClipTraining(pairs=24, scene_size=48, batch=8, steps=5, warmup=2, checkpoint_every=2)
_KILLED = f"""
import os, signal, sys, torch
from sparse_ovs.training import ClipTraining, train_clip
torch.set_num_threads(1)
def report(done):
    if done.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
train_clip(ClipTraining(**{vars(SETTINGS)}), sys.argv[1], report=report)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield train_clip(SETTINGS, tmp_path_factory.mktemp("whole"))
    torch.set_num_threads(threads)


def test_a_killed_run_resumes_to_the_same_bits(trained: Path, tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path / "checkpoints") == ["step-00000002.safetensors"]
    resumed = train_clip(SETTINGS, tmp_path, resume=True)
    assert resumed.read_bytes() == trained.read_bytes()
    assert (tmp_path / "log.csv").read_bytes() == (trained.parent / "log.csv").read_bytes()


def test_its_weights_are_a_pretrained_clip(trained: Path) -> None:
    backbone = create_backbone("scenes-RN50", trained)
    assert backbone.clip.random_parts == ()
    random = create_backbone("scenes-RN50")
    assert not torch.equal(backbone.bn1.running_mean, random.bn1.running_mean)


def test_the_file_says_with_which_settings_it_was_trained(trained: Path) -> None:
    with safetensors.safe_open(trained, "pt") as file:
        assert "steps=5, " in file.metadata()["trained"]


def test_matrices_are_rounded_to_half_and_vectors_are_not(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    written = safetensors.torch.load_file(save_clip(model, tmp_path / "x.safetensors", {}))
    assert torch.equal(written["weight"], model.weight.half())
    assert torch.equal(written["bias"], model.bias)


def test_the_scale_stays_at_most_100(tmp_path: Path) -> None:
    settings = ClipTraining(pairs=4, scene_size=32, batch=2, steps=1, warmup=0, lr=10.0)
    weights = train_clip(settings, tmp_path)
    scale = safetensors.torch.load_file(weights)["logit_scale"].exp()
    assert float(scale) <= 100.001

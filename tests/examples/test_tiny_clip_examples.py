"""The examples that make the tiny CLIP's files run, here in a few steps."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

import sparse_ovs
from sparse_ovs.pruning import masks
from sparse_ovs.training import ClipTraining

FOLDER = Path(__file__).parents[2] / "examples" / "tiny_clip"


@pytest.mark.slow
def test_pretraining_writes_weights_and_says_what_they_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(FOLDER / "pretrain.py"))["main"]
    main(str(tmp_path), replace(ClipTraining(), pairs=16, batch=4, steps=3, warmup=1))
    assert capsys.readouterr().out.count("val-unseen, templates") == 2
    assert (
        sparse_ovs.create_backbone("scenes-RN50", tmp_path / "clip.safetensors").clip.random_parts
        == ()
    )


@pytest.mark.slow
def test_pruning_writes_masks_and_a_trunk_with_their_zeros(tmp_path: Path) -> None:
    main = runpy.run_path(str(FOLDER / "prune.py"))["main"]
    main(tmp_path, density=0.8, iters_per_round=1, recalibration=1)
    found = masks.load(tmp_path / "masks.safetensors")
    trunk = sparse_ovs.load(tmp_path / "trunk.safetensors")
    assert found.density == pytest.approx(0.8, abs=1e-3)
    for name, mask in found.masks.items():
        assert not trunk.get_submodule(name).weight[~mask].any()

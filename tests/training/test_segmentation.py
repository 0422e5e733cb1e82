"""Training runs: what they write, what stays as it is, how they go on, and several processes."""

from __future__ import annotations

import csv
import signal
import socket
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from sparse_ovs import create_backbone, pruning
from sparse_ovs.data import Scenes
from sparse_ovs.nn import SparseConv2d
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.pruning import MaskInfo, magnitude_masks
from sparse_ovs.segmenter import RandomWeightsWarning, Segmenter
from sparse_ovs.spectral import SelectedLayer, Selection, save_selection, spectral_layers
from sparse_ovs.training import train_segmenter
from support import scripts, train_parallel
from support.small_clips import RN, small_backbone
from support.small_training import small_settings


def load(folder: Path) -> Segmenter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeightsWarning)
        return Segmenter.from_pretrained(folder)


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_a_run_writes_a_trained_segmenter_and_its_log(tmp_path: Path) -> None:
    made = train_segmenter(small_settings(), tmp_path)
    segmenter = load(made)
    assert segmenter.head.name == "maskformer"
    assert "head" not in segmenter.random_parts()
    assert set(segmenter.head.seen) == {
        name for k, name in enumerate(Scenes.classes) if k not in Scenes.unseen
    }
    assert segmenter.options.size == 64
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [1, 2, 3, 4]
    assert all(
        row["loss"] == pytest.approx(row["mask"] + row["dice"] + row["class"]) for row in found
    )


def test_the_encoder_is_dilated_where_settings_say_so(tmp_path: Path) -> None:
    made = train_segmenter(small_settings(model={"output_stride": 16}, run={"steps": 1}), tmp_path)
    assert load(made).backbone.levels()[-1].stride == 16


def test_a_run_learns(tmp_path: Path) -> None:
    settings = small_settings(
        data={"options": {"size": 64, "count": 2}, "flip": False, "scale": [1, 1]},
        run={"steps": 25, "batch": 2, "checkpoint_every": 100},
        schedule={"name": "constant"},
    )
    train_segmenter(settings, tmp_path)
    found = rows(tmp_path)
    assert found[-1]["loss"] < 0.7 * found[0]["loss"]


def test_masks_stay_and_the_segmenter_is_sparse(tmp_path: Path) -> None:
    backbone = small_backbone()
    masks = magnitude_masks(named_weights(backbone, backbone.scope()), "unstructured", 0.3)
    file = tmp_path / "masks.safetensors"
    info = MaskInfo(RN, "unstructured", "magnitude", "one shot", 0, "original")
    pruning.masks.save(file, masks, info)
    train_segmenter(small_settings(encoder={"mask": str(file)}), tmp_path / "run")
    trained = load(tmp_path / "run").backbone
    weights = named_weights(trained, trained.scope())
    assert set(weights) == set(masks)
    for name, mask in masks.items():
        assert weights[name][~mask].abs().max() == 0
        assert (weights[name][mask] != 0).all()
    assert all(isinstance(trained.get_submodule(name), SparseConv2d) for name in masks)


def test_a_frozen_encoder_stays_to_the_bit(tmp_path: Path) -> None:
    started = _encoder_after(tmp_path / "short", {"freeze": True}, steps=1)
    ended = _encoder_after(tmp_path / "long", {"freeze": True}, steps=3)
    assert all(torch.equal(started[name], ended[name]) for name in started)


def test_frozen_norms_keep_their_statistics_while_weights_learn(tmp_path: Path) -> None:
    started = _encoder_after(tmp_path / "short", {}, steps=1)
    ended = _encoder_after(tmp_path / "long", {}, steps=3)
    changed = {name for name in started if not torch.equal(started[name], ended[name])}
    assert "layer1.0.conv1.weight" in changed
    assert not any(part in name for name in changed for part in ("running", ".bn", "downsample.1"))


def test_norms_that_are_not_frozen_follow_the_data(tmp_path: Path) -> None:
    started = _encoder_after(tmp_path / "short", {"freeze_norms": False}, steps=1)
    ended = _encoder_after(tmp_path / "long", {"freeze_norms": False}, steps=3)
    assert not torch.equal(started["bn1.running_mean"], ended["bn1.running_mean"])


def _encoder_after(folder: Path, encoder: dict[str, Any], steps: int) -> dict[str, torch.Tensor]:
    train_segmenter(small_settings(encoder=encoder, run={"steps": steps}), folder)
    return load(folder).backbone.state_dict()


@pytest.mark.parametrize(
    "tables",
    [
        {"distillation": {"kind": "text-guided"}},
        {"distillation": {"kind": "label-free", "weight": 1.0}},
        {"grounding": {"weight": 2.0}},
    ],
)
def test_other_losses_are_added(tmp_path: Path, tables: dict[str, Any]) -> None:
    train_segmenter(small_settings(run={"steps": 2}, **tables), tmp_path)
    extra = next(iter(tables))
    for row in rows(tmp_path):
        parts = row["mask"] + row["dice"] + row["class"] + row[extra]
        assert row["loss"] == pytest.approx(parts)
    assert abs(rows(tmp_path)[-1][extra]) > 1e-4


def test_training_goes_on_from_a_segmenter(tmp_path: Path) -> None:
    first = train_segmenter(small_settings(run={"steps": 1}), tmp_path / "first")
    again = small_settings(model={"checkpoint": str(first)}, run={"steps": 1})
    train_segmenter(again, tmp_path / "second")
    assert rows(tmp_path / "second")[0]["loss"] != rows(tmp_path / "first")[0]["loss"]
    before, after = (load(tmp_path / name).head.state_dict() for name in ("first", "second"))
    # One step of AdamW moves a weight by its rate at most, beside decay.
    name = "class_embed.weight"
    assert 0 < (before[name] - after[name]).abs().max() < 3e-3


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"model": {"head": "maskclip"}}, "expected a head that learns, got maskclip"),
        ({"model": {"head": "maskfomer"}}, "expected a head of .*, got 'maskfomer'"),
        (
            {"model": {"checkpoint": "a", "pretrained": "b"}},
            "expected model.pretrained empty beside model.checkpoint",
        ),
        ({"data": {"dataset": "moons"}}, "expected a dataset of .*, got 'moons'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, tables: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train_segmenter(small_settings(**tables), tmp_path)


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = _start(killed, steps=8)
    first = killed / "checkpoints" / "step-00000002.safetensors"
    while not first.exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "segmenter.safetensors").exists()
    train_parallel.train(killed, resume=True, steps=8)
    train_parallel.train(whole, steps=8)
    for name in ("log.csv", "segmenter.safetensors", "checkpoints/step-00000008.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train_segmenter(small_settings(run={"steps": 1}), tmp_path)
    with pytest.raises(ValueError, match=r"losses.points: 64, not 65"):
        train_segmenter(small_settings(losses={"points": 65}, run={"steps": 2}), tmp_path, True)


def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    alone, together = tmp_path / "alone", tmp_path / "together"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for index in range(2):
        own = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
        running.append(_start(together, 5, **{name: str(value) for name, value in own.items()}))
    train_parallel.train(alone, steps=5)
    assert [process.wait(300) for process in running] == [0, 0]
    expected, found = rows(alone), rows(together)
    assert len(expected) == len(found) == 5
    for one, two in zip(expected, found, strict=True):
        for part in ("loss", "mask", "dice", "class"):
            assert two[part] == pytest.approx(one[part], rel=1e-4)
    assert found[0]["loss"] == pytest.approx(expected[0]["loss"], rel=1e-6)
    assert found[0]["grad_norm"] == pytest.approx(expected[0]["grad_norm"], rel=1e-4)


def _start(folder: Path, steps: int, **environment: str) -> subprocess.Popen[bytes]:
    command = scripts.command(train_parallel, folder, steps)
    return subprocess.Popen(command, env=scripts.environment(**environment))


def _select(file: Path, frozen: list[str]) -> str:
    """A selection of the small encoder's layers."""
    shapes = {each.name: tuple(each.weight.shape) for each in spectral_layers(small_backbone())}
    layers = tuple(
        SelectedLayer(name, shape, 2.0, 0.1, name in frozen, 0.1, None)
        for name, shape in shapes.items()
    )
    save_selection(file, Selection(layers, "by hand", None, "small"))
    return str(file)


def test_selected_layers_are_frozen_from_a_step_on_also_after_a_resume(tmp_path: Path) -> None:
    encoder = {
        "selection": _select(tmp_path / "selection.json", ["layer1.0.conv1"]),
        "frozen_from": 2,
    }
    constant = {"name": "constant"}
    for folder, steps in (("short", [2]), ("whole", [4]), ("resumed", [3, 4])):
        for count in steps:
            settings = small_settings(encoder=encoder, run={"steps": count}, schedule=constant)
            train_segmenter(settings, tmp_path / folder, resume=True)
    short, whole, resumed = (
        load(tmp_path / folder).backbone.state_dict() for folder in ("short", "whole", "resumed")
    )
    assert torch.equal(short["layer1.0.conv1.weight"], whole["layer1.0.conv1.weight"])
    assert not torch.equal(short["layer1.0.conv2.weight"], whole["layer1.0.conv2.weight"])
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_zeros_of_a_pruned_encoder_stay(tmp_path: Path) -> None:
    pruned = {"backbone": "scenes-RN50", "pretrained": "scenes-imp10"}
    train_segmenter(
        small_settings(model=pruned, encoder={"mask": "zeros"}, run={"steps": 1}), tmp_path
    )
    before = create_backbone("scenes-RN50", "scenes-imp10")
    after = load(tmp_path).backbone
    first, last = (named_weights(each, each.scope()) for each in (before, after))
    assert all(torch.equal(first[name] == 0, last[name] == 0) for name in first)
    assert not torch.equal(first["layer1.0.conv1"], last["layer1.0.conv1"])


def test_a_dense_encoder_has_no_zeros_to_keep(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a pruned encoder for encoder\.mask 'zeros'"):
        train_segmenter(small_settings(encoder={"mask": "zeros"}), tmp_path)


def test_sparse_kernels_train_to_the_same_losses(tmp_path: Path) -> None:
    pruned = {"backbone": "scenes-RN50", "pretrained": "scenes-imp10"}
    for folder, kernels in (("dense", False), ("sparse", True)):
        settings = small_settings(
            model=pruned,
            encoder={"mask": "zeros", "sparse_kernels": kernels},
            optimizer={"lr": 2e-5},
            run={"steps": 2},
        )
        train_segmenter(settings, tmp_path / folder)
    for one, two in zip(rows(tmp_path / "dense"), rows(tmp_path / "sparse"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert isinstance(load(tmp_path / "sparse").backbone.layer1[0].conv1, SparseConv2d)

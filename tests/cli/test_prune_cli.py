"""sparse-ovs prune and compare, from the command line to the files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

import sparse_ovs
from sparse_ovs import pruning
from sparse_ovs.cli.app import app
from support.small_clips import RN, register_small_clips

TOTAL = 23_445_504
SMALL = "scenes-RN50"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def finish(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.exception
    return result


def kept(path: Path) -> int:
    return sum(int(mask.sum()) for mask in pruning.masks.load(path).masks.values())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images of noise."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(noise.integers(0, 256, (40, 40, 3), np.uint8)).save(
            folder / f"{number}.png"
        )
    return folder


@pytest.fixture(scope="module")
def one_shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks of RN50 at density 0.1."""
    path = tmp_path_factory.mktemp("masks") / "one.safetensors"
    finish("prune", "RN50", "--density", 0.1, "--schedule", "oneshot", "--out", path)
    return path


def test_one_shot_masks_have_the_density_and_say_where_they_come_from(one_shot: Path) -> None:
    found = pruning.masks.load(one_shot)
    assert len(found.masks) == 52
    assert kept(one_shot) == TOTAL // 10
    assert found.info is not None
    assert found.info.model == "RN50 random weights"
    assert found.info.criterion == "magnitude, global"
    assert found.info.schedule == "one-shot"
    assert found.info.weights == "original"


def test_the_masks_make_a_backbone_sparse(one_shot: Path) -> None:
    report = sparse_ovs.create_backbone("RN50", mask=one_shot).report
    assert report is not None
    masks = pruning.masks.load(one_shot).masks
    for name, mask in masks.items():
        assert report[name].density == pytest.approx(float(mask.double().mean()))


def test_random_masks_take_the_densities_of_others(one_shot: Path, tmp_path: Path) -> None:
    path = tmp_path / "random.safetensors"
    finish("prune", "RN50", "--like", one_shot, "--schedule", "random", "--out", path)
    ours, theirs = pruning.masks.load(path), pruning.masks.load(one_shot)
    assert ours.densities == theirs.densities
    assert any(not torch.equal(ours.masks[n], theirs.masks[n]) for n in theirs.masks)
    assert ours.info is not None
    assert ours.info.criterion == "random, seed 0"


def test_a_budget_of_macs_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "macs.safetensors"
    options = ("--budget-macs", 0.25, "--schedule", "oneshot", "--size", 64)
    finish("prune", SMALL, *options, "--out", path)
    masks = pruning.masks.load(path).masks
    backbone = sparse_ovs.create_backbone(SMALL)
    from sparse_ovs.pruning.cost import mac_costs

    costs = mac_costs(backbone, torch.randn(1, 3, 64, 64), backbone.scope())
    whole = costs.of({n: torch.ones_like(m) for n, m in masks.items()}) - costs.fixed
    assert 0.2499 < (costs.of(masks) - costs.fixed) / whole <= 0.25


def test_training_writes_masks_weights_and_a_log_and_a_finished_run_resumes(
    images: Path, tmp_path: Path
) -> None:
    path, weights = tmp_path / "m.safetensors", tmp_path / "w.safetensors"
    options = ("--images", images, "--iters-per-round", 1, "--batch", 1, "--rounds", 2)
    options += ("--schedule", "gradual", "--density", 0.5, "--recalibrate", 1, "--weights", weights)
    finish("prune", SMALL, *options, "--out", path)
    found = pruning.masks.load(path)
    assert found.info is not None
    assert found.info.weights == "trained"
    assert kept(path) == sum(mask.numel() for mask in found.masks.values()) // 2
    assert len((tmp_path / "m.safetensors.run" / "log.csv").read_text().splitlines()) == 3
    encoder = sparse_ovs.load(weights)
    for name, density in found.densities.items():
        assert encoder.get_submodule(name).density == pytest.approx(density, rel=1e-4)

    refused = run("prune", SMALL, *options, "--out", path)
    assert isinstance(refused.exception, FileExistsError)
    again = tmp_path / "again.safetensors"
    folder = tmp_path / "m.safetensors.run"
    finish("prune", SMALL, *options, "--out", again, "--work", folder, "--resume")
    masks = pruning.masks.load(again).masks
    assert all(torch.equal(mask, masks[name]) for name, mask in found.masks.items())


@pytest.mark.slow
def test_masks_for_ordered_channels_give_the_features_of_the_ordered_encoder(
    tmp_path: Path,
) -> None:
    path, weights = tmp_path / "m.safetensors", tmp_path / "w.safetensors"
    options = ("--density", 0.3, "--schedule", "oneshot", "--pattern", "block4x1", "--permute")
    finish("prune", "RN50", *options, "--out", path, "--weights", weights, "--seed", 4)
    torch.manual_seed(4)  # the random weights of the run
    backbone = sparse_ovs.create_backbone("RN50", mask=path, pattern="block4x1")
    saved = sparse_ovs.load(weights)
    assert len(pruning.masks.load(path).orders) > 16
    for name, parameter in saved.named_parameters():
        assert torch.equal(parameter, backbone.get_parameter(name)), name


def test_what_learned_under_int8s_rounding_comes_with_its_scales(
    images: Path, tmp_path: Path
) -> None:
    register_small_clips()
    weights = tmp_path / "encoder.safetensors"
    options = ("--density", 0.3, "--schedule", "oneshot", "--images", images, "--qat", 2)
    places = ("--out", tmp_path / "m.safetensors", "--weights", weights)
    finish("prune", RN, *options, "--batch", 2, "--size", 64, *places)
    encoder = sparse_ovs.load(weights).eval()
    q = sparse_ovs.load_quantization(tmp_path / "encoder.quantization.safetensors")
    x = torch.randn(1, 3, 64, 64)
    fast = sparse_ovs.compile(encoder, x, 1, precision="int8", quantization=q)
    assert "int8" in str(fast)
    assert all(torch.isfinite(made).all() for made in fast(x))


@pytest.mark.slow
def test_a_target_speedup_is_reached_within_ten_percent(tmp_path: Path) -> None:
    path = tmp_path / "fast.safetensors"
    options = ("--target-speedup", 2.5, "--schedule", "oneshot", "--baseline", "channels_last")
    printed = finish("prune", "RN50", *options, "--threads", 1, "--out", path).stdout
    speedup = float(printed.partition("x (")[0].split()[-1])
    assert speedup == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "expected one of --density, .*, got none of them"),
        (("--density", 0.1, "--budget-macs", 0.1), "got --density and --budget-macs"),
        (("--density", 0.1, "--rounds", 3), "got --density and --rounds"),
        (("--density", 0.1, "--schedule", "luck"), "expected a schedule of imp, .*, got 'luck'"),
        (("--density", 0.1, "--iters-per-round", 5), "expected --images to train"),
        (("--density", 0.1, "--recalibrate", 5), "expected --images to train or recalibrate"),
        (("--like", "x"), "expected --like with schedule random, got schedule imp"),
        (("--budget-macs", 0.1, "--schedule", "uniform"), "expected --density with schedule unif"),
        (("--density", 0.1, "--precision", "int8"), "expected --target-speedup with --precision"),
        (("--density", 0.1, "--permute"), "expected a pattern blockRx1, got 'unstructured'"),
        (
            ("--density", 0.1, "--schedule", "random", "--permute"),
            "expected --permute with magnitudes, got schedule random",
        ),
        (("--density", 2), "expected a density with 0 < density <= 1, got 2"),
    ],
)
def test_options_that_make_no_run_are_refused(
    options: tuple[object, ...], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    result = run("prune", "RN50", *options, "--out", path)
    assert result.exit_code == 1
    with pytest.raises(ValueError, match=message):
        raise result.exception  # type: ignore[misc]
    assert not path.exists()


def test_compare_tells_cosines_costs_and_densities(
    one_shot: Path, images: Path, tmp_path: Path
) -> None:
    record, picture = tmp_path / "record.json", tmp_path / "densities.png"
    options = ("--images", images, "--size", 64, "--rounds", 1, "--batch", 2, "--limit", 3)
    files = ("--json", record, "--picture", picture)
    printed = finish("compare", "dense", one_shot, *options, *files).stdout
    assert "cosines, mean of 3 images" in printed
    assert "RANDOM WEIGHTS" in printed
    found = json.loads(record.read_text())
    dense, sparse = found["A"], found["B"]
    # A few random weights are zero without being pruned.
    assert dense["params"] - sparse["params"] == pytest.approx(TOTAL - TOTAL // 10, abs=20)
    assert min(dense["densities"].values()) > 0.9999
    assert sparse["densities"] == pytest.approx(pruning.masks.load(one_shot).densities)
    for name, density in sparse["densities"].items():
        assert sparse["macs"][name] == pytest.approx(density * dense["macs"][name])
    assert sparse["bytes"] < 0.25 * dense["bytes"]
    assert len(found["similarity"]["maps"]) == 4
    assert Image.open(picture).size[0] > 500


@pytest.mark.slow
def test_compare_takes_a_saved_encoder(images: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = sparse_ovs.create_backbone("RN50", density=0.5, pattern="block4x1")
    path, record = tmp_path / "encoder.safetensors", tmp_path / "record.json"
    sparse_ovs.save(backbone, path)
    options = ("--images", images, "--size", 32, "--rounds", 1, "--limit", 2, "--json", record)
    finish("compare", path, path, *options)
    found = json.loads(record.read_text())
    assert found["similarity"]["maps"] == pytest.approx([1.0] * 4)
    assert found["A"]["params"] == found["B"]["params"] < TOTAL


def test_compare_tells_which_stem_of_a_file_of_opentrans_is_left_out(
    images: Path, tmp_path: Path
) -> None:
    weights = sparse_ovs.create_backbone("scenes-RN50").state_dict()
    names = ("conv1", "layer1.0.conv1")
    masks = {f"{n}.weight_mask": torch.rand(weights[f"{n}.weight"].shape) < 0.5 for n in names}
    torch.save({"backbone": masks}, tmp_path / "masks.pth")
    options = ("--images", images, "--size", 32, "--rounds", 1, "--limit", 1)
    told = finish(
        "compare", "dense", tmp_path / "masks.pth", "--model", "scenes-RN50", *options
    ).stderr
    assert "conv1: the file has masks for the stem" in " ".join(told.split())


def test_compare_refuses_a_file_of_something_else(images: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no masks")
    result = run("compare", "dense", path, "--images", images)
    assert result.exit_code == 1
    assert "expected" in str(result.exception)

"""A run of compress that was stopped goes on where it was, to the bits of one that was not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.compression import Compressed
from sparse_ovs.loop import PlaceInUse, hold_folder
from support import small_compressions, small_runs

FILES = ("masks.safetensors", "weights.safetensors", "quantization.safetensors", "encoder.plan")


def compress(module: nn.Module, images: Tensor, **options: object) -> Compressed:
    return sparse_ovs.compress(module, images, baselines=("eager",), **options)  # type: ignore[arg-type]


class Stop(Exception):
    pass


def stopping(after: int) -> Callable[[str, int, int], None]:
    left = after

    def tell(doing: str, done: int, of: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop

    return tell


def test_a_run_that_is_stopped_at_ten_moments_goes_on_to_the_same_bits(
    module: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    options = {"density": 0.4, "precision": "int8", "allocation": "loss"}
    losses, layers = (1, 2, 4, 6), (1, 2, 3, 5, 6, 7)  # then the budget has been shared
    for after in (*losses, *layers):
        with pytest.raises(Stop):
            compress(module, images, folder=tmp_path, tell=stopping(after), **options)
    resumed = compress(module, images, folder=tmp_path, **options)
    whole = compress(module, images, **options)
    for name, value in whole.module.state_dict().items():
        assert torch.equal(resumed.module.state_dict()[name], value)
    assert resumed.quantization is not None
    assert whole.quantization is not None
    assert resumed.quantization.values == whole.quantization.values
    for name, mask in whole.masks.items():
        assert torch.equal(resumed.masks[name], mask)


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_with_the_same_files(
    tmp_path: Path, kills: int
) -> None:
    kill_and_compare(small_compressions.compress_small, tmp_path, kills)


@pytest.mark.slow
def test_the_command_killed_at_ten_random_moments_ends_with_the_same_files(tmp_path: Path) -> None:
    small_compressions.write_images(tmp_path / "images")
    kill_and_compare(small_compressions.compress_tiny_clip, tmp_path, 10)


def kill_and_compare(run: Callable[..., None], tmp_path: Path, kills: int) -> None:
    """Of a run that nobody disturbs, and of one that is killed so often."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    run(whole)
    results = sum(path.is_file() for path in (whole / "run").rglob("*.*"))
    small_runs.kill_at_moments(run, killed, results, kills)
    assert not (killed / "report.json").exists()
    run(killed)
    for name in FILES:
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_what_is_done_is_not_done_again(
    module: nn.Module, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress(module, images, density=0.4, folder=tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("sparse_ovs.compression.attempt.compress_layer", fail)
    monkeypatch.setattr("sparse_ovs.compression.planner.loss_by_density", fail)
    compress(module, images, density=0.4, folder=tmp_path)


def test_a_folder_of_another_run_is_refused(
    module: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    compress(module, images, density=0.4, method="magnitude", folder=tmp_path)
    with pytest.raises(ValueError, match="expected a folder of this run, got one with another set"):
        compress(module, images, density=0.3, method="magnitude", folder=tmp_path)
    with pytest.raises(ValueError, match="another images"):
        compress(module, images + 1, density=0.4, method="magnitude", folder=tmp_path)


def test_a_folder_in_use_is_refused(module: nn.Module, images: Tensor, tmp_path: Path) -> None:
    with hold_folder(tmp_path), pytest.raises(PlaceInUse):
        compress(module, images, density=0.4, folder=tmp_path)

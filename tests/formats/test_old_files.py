"""Files of older versions still load, with what they held then; see tests/fixtures."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import pruning
from sparse_ovs.backbones.clip_parts import ClipParts
from sparse_ovs.evaluation.unfinished import Unfinished
from sparse_ovs.loop.checkpoints import Checkpoints
from sparse_ovs.loop.processes import Alone
from sparse_ovs.profiling import max_relative_error
from sparse_ovs.spectral import SelectedLayer, Selection, load_selection, spectrum_cache
from sparse_ovs.text.cache import EmbeddingCache

V1 = Path(__file__).parents[1] / "fixtures" / "v1"


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    with np.load(V1 / "expected.npz") as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def of(expected: dict[str, Tensor], file: str) -> dict[str, Tensor]:
    """What belongs to one file."""
    start = f"{file}/"
    return {k.removeprefix(start): v for k, v in expected.items() if k.startswith(start)}


def test_a_plan_gives_what_it_gave(expected: dict[str, Tensor]) -> None:
    content = of(expected, "plan")
    outputs = sparse_ovs.load_plan(V1 / "plan.safetensors")(content.pop("input"))
    assert len(outputs) == len(content)
    assert max_relative_error(outputs, list(content.values())) < 1e-5


def test_masks_come_with_their_bits_and_where_they_are_from(expected: dict[str, Tensor]) -> None:
    content = pruning.masks.load(V1 / "masks.safetensors")
    wanted = of(expected, "masks")
    assert content.masks.keys() == wanted.keys()
    assert all(torch.equal(mask, wanted[name]) for name, mask in content.masks.items())
    assert torch.equal(content.orders["layer1.0.conv1"], expected["masks_order"])
    assert content.info == pruning.masks.MaskInfo(
        "RN50 openai", "block4x1", "random", "one-shot", 7, "original", "0.1.0"
    )


def test_packed_weights_fill_a_model(expected: dict[str, Tensor]) -> None:
    model = nn.ModuleDict(
        {
            "conv": nn.Conv2d(5, 9, 3),
            "blocks": nn.Conv2d(9, 8, 1),
            "attn": nn.MultiheadAttention(8, 2),
            "linear": nn.Linear(8, 6),
            "dense": nn.Linear(6, 4),
        }
    )
    sparse_ovs.load(V1 / "packed.safetensors", model)
    state, wanted = model.state_dict(), of(expected, "packed")
    assert state.keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in state.items())
    patterns = [model[name].pattern for name in ("conv", "blocks", "linear")]
    assert patterns == ["unstructured", "block4x1", "2:4"]


def test_a_selection_names_its_layers() -> None:
    assert load_selection(V1 / "selection.json") == Selection(
        (
            SelectedLayer("conv1", (8, 3, 3, 3), 2.25, 0.0625, True, 0.25, 0.5),
            SelectedLayer("layer1.0.conv1", (8, 81), 3.5, 0.125, False, 0.75, None),
        ),
        "by hand",
        7,
        "RN50 openai",
    )


def test_a_checkpoint_goes_on_from_its_step(expected: dict[str, Tensor]) -> None:
    loaded = Checkpoints(V1, keep=1).load({"lr": 0.125})
    assert loaded is not None
    step, state = loaded
    assert step == 3
    assert torch.equal(state["model"].pop("weight"), expected["checkpoint/weight"])
    assert torch.equal(state["optimizer"][0].pop("moment"), expected["checkpoint/moment"])
    assert state == {
        "model": {},
        "optimizer": {0: {"steps": 3}},
        "best": math.inf,
        "history": [(1, 0.5), (2, None)],
    }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache as it was left."""
    folder = tmp_path / "cache"
    shutil.copytree(V1 / "cache", folder)
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(folder))
    return folder


@pytest.mark.usefixtures("cache")
def test_a_spectrum_is_not_computed_again(
    expected: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(spectrum_cache, "spectrum")
    found = spectrum_cache.cached_spectrum(expected["spectrum/weight"])
    assert torch.equal(found, expected["spectrum/values"])


@pytest.mark.usefixtures("cache")
def test_text_is_not_embedded_again(expected: dict[str, Tensor]) -> None:
    clip = ClipParts("small", nn.ParameterDict({"tower": expected["text/tower"]}))
    found = EmbeddingCache(clip, ["a photo of a {}."]).read(["dog", "cat", "cow"])
    assert list(found) == ["dog", "cat"]
    assert torch.equal(torch.stack([found["cat"], found["dog"]]), expected["text/rows"])


def test_an_evaluation_goes_on(expected: dict[str, Tensor]) -> None:
    done, confusion = Unfinished(V1 / "evaluation", {"data": "x"}, None, Alone()).read(3)
    assert done == 5
    assert np.array_equal(confusion.counts, expected["evaluation/counts"].numpy())

"""Saved models: small, exact, and never half loaded."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import create_backbone, densify, load, save, sparsify
from sparse_ovs.formats import FileFormatError


class Model(nn.Module):
    """Layers of every kind, some of them sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.attn = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 8)


def _sparse(pattern: str = "block4x1") -> Model:
    model = Model()
    sparsify(model, pattern, 0.25, exclude=["head"], engine="native")
    return model.eval()


def _same_state(a: nn.Module, b: nn.Module) -> bool:
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(value, states[1][key]) for key, value in states[0].items()
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save(_sparse(), path)
    return path


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
def test_a_dense_model_is_filled_and_becomes_sparse(tmp_path: Path, pattern: str) -> None:
    model, path = _sparse(pattern), tmp_path / "model"
    save(model, path)
    twin = load(path, Model())
    assert _same_state(model, twin)
    assert torch.equal(twin.conv.mask, model.conv.mask)
    assert torch.equal(twin.attn.in_proj.mask, model.attn.in_proj.mask)
    assert twin.conv.pattern == pattern
    assert twin.conv.block_rows == model.conv.block_rows
    assert type(twin.head) is nn.Linear


def test_a_sparse_model_is_filled_with_the_masks_of_the_file(saved: Path) -> None:
    twin = Model()
    sparsify(twin, "unstructured", 0.5, engine="native")
    load(saved, twin)
    original = load(saved, Model())
    assert _same_state(original, twin)
    assert torch.equal(twin.conv.mask, original.conv.mask)
    assert twin.conv.pattern == "block4x1"
    assert bool(twin.head.mask.all())  # dense in the file: nothing is masked away


def test_a_folded_model_saves_its_dense_keys(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    dense = copy.deepcopy(model)
    sparsify(model, density=0.5, fold_bn=True, engine="native")
    save(model, tmp_path / "model")
    twin = load(tmp_path / "model", dense)
    x = torch.randn(1, 3, 6, 6)
    with torch.no_grad():
        assert torch.allclose(twin(x), model(x), atol=1e-5)


def test_a_backbone_is_rebuilt_from_its_file_alone_and_the_file_is_small(tmp_path: Path) -> None:
    backbone = create_backbone("RN50", density=0.1, out_indices=(2, 4))
    path, dense = tmp_path / "rn50.safetensors", tmp_path / "dense.safetensors"
    save(backbone, path)
    safetensors.torch.save_file(backbone.state_dict(), dense)
    assert path.stat().st_size <= 0.17 * dense.stat().st_size
    twin = load(path)
    assert twin.out_indices == (2, 4)
    assert _same_state(backbone, twin)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(backbone(x), twin(x), strict=True))
    again = create_backbone("RN50", pretrained=path)
    assert torch.equal(again.layer1[0].conv1.mask, backbone.layer1[0].conv1.mask)


def test_the_header_says_versions_patterns_and_densities(saved: Path) -> None:
    with safetensors.safe_open(saved, framework="pt") as file:
        header = json.loads(file.metadata()["sparse_ovs"])
    assert header["format_version"] == 1
    assert header["library"] == sparse_ovs.__version__
    assert header["model"] is None
    assert header["layers"]["conv.weight"] == {
        "layer": "conv",
        "pattern": "block4x1",
        "density": 0.25,
        "shape": [16, 3, 3, 3],
        "block_rows": 4,
    }
    assert set(header["layers"]) == {"conv.weight", "attn.in_proj_weight", "attn.out_proj.weight"}


def test_a_file_without_a_backbone_needs_a_model(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a model to fill, got None, and .* no backbone"):
        load(saved)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a file, got none at nowhere\.bin"):
        load("nowhere.bin", Model())


def _all(indices: Tensor, value: int) -> Tensor:
    return torch.full(indices.shape, value, dtype=indices.dtype)


def _damage(path: Path, kind: str) -> None:
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["sparse_ovs"])
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
        return
    if kind == "foreign":
        safetensors.torch.save_file(tensors, path)
        return
    if kind == "newer":
        header["format_version"] = 2
    elif kind == "part missing":
        del tensors["conv.weight.values"]
    elif kind == "integers":
        tensors["conv.weight.values"] = tensors["conv.weight.values"].to(torch.int8)
    elif kind == "indices out of range":
        tensors["conv.weight.indices"] = _all(tensors["conv.weight.indices"], 27)
    elif kind == "layer unknown":
        header["layers"]["nope.weight"] = header["layers"].pop("conv.weight")
    elif kind == "owner changed":
        header["layers"]["conv.weight"]["layer"] = "head"
    elif kind == "layers missing":
        del header["layers"]
    elif kind == "key missing":
        del tensors["head.bias"]
    elif kind == "key unknown":
        tensors["extra"] = torch.zeros(1)
    elif kind == "shape changed":
        tensors["head.bias"] = torch.zeros(9)
    safetensors.torch.save_file(tensors, path, {"sparse_ovs": json.dumps(header)})


@pytest.mark.parametrize(
    "kind",
    [
        "truncated",
        "foreign",
        "newer",
        "part missing",
        "integers",
        "indices out of range",
        "layer unknown",
        "owner changed",
        "layers missing",
        "key missing",
        "key unknown",
        "shape changed",
    ],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_a_bad_file_is_one_clear_line_and_changes_nothing(
    saved: Path, kind: str, sparse: bool
) -> None:
    model = Model()
    if sparse:
        sparsify(model, density=0.5, engine="native")
    modules, state = dict(model.named_modules()), copy.deepcopy(model.state_dict())
    masks = {n: m.mask.clone() for n, m in modules.items() if hasattr(m, "mask")}
    _damage(saved, kind)
    with pytest.raises(FileFormatError, match=r"^expected ") as caught:
        load(saved, model)
    assert "\n" not in str(caught.value)
    assert all(module is modules[name] for name, module in model.named_modules())
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert all(torch.equal(mask, modules[name].mask) for name, mask in masks.items())


def test_saving_does_not_change_the_model(tmp_path: Path) -> None:
    model = _sparse()
    before = copy.deepcopy(model.state_dict())
    save(model, tmp_path / "model")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert type(densify(model).conv) is nn.Conv2d

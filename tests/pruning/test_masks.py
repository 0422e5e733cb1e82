"""Mask files, and what applying them does to a model."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest
import safetensors
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import sparse_ovs
from sparse_ovs import sparsify
from sparse_ovs.formats import FileFormatError, format_version, write_masks
from sparse_ovs.pruning import MaskFile, MaskInfo, masks
from support.trees import tree

INFO = MaskInfo(
    model="RN50-quickgelu openai",
    pattern="unstructured",
    criterion="magnitude global",
    schedule="iterative 0.1, 22 rounds",
    seed=7,
    weights="trained",
)
NAMES = ["layer1.0.conv1", "layer1.0.conv2"]


def _masks() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        NAMES[0]: torch.rand(6, 4, 1, 1, generator=random) < 0.25,
        NAMES[1]: torch.rand(8, 6, 3, 3, generator=random) < 0.5,
    }


def _model(prefix: str = "") -> nn.Module:
    convs = {NAMES[0]: nn.Conv2d(4, 6, 1), NAMES[1]: nn.Conv2d(6, 8, 3)}
    return tree({f"{prefix}{name}": conv for name, conv in convs.items()})


def test_masks_and_info_come_back_as_they_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    masks.save(path, _masks(), INFO)
    loaded = masks.load(path)
    assert loaded.info == INFO
    assert INFO.library == sparse_ovs.__version__
    assert list(loaded.masks) == NAMES
    for name, mask in _masks().items():
        assert loaded.masks[name].dtype == torch.bool
        assert torch.equal(loaded.masks[name], mask)


def test_densities_are_counted_by_layer_and_over_all(tmp_path: Path) -> None:
    content = MaskFile({"a": torch.tensor([[True, False]]), "b": torch.eye(4).bool()}, None)
    assert content.densities == {"a": 0.5, "b": 0.25}
    assert content.density == 5 / 18


def test_the_header_tells_everything_without_the_library(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    masks.save(path, _masks(), INFO)
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["sparse_ovs"])
        assert sorted(file.keys()) == [f"{name}.weight_mask" for name in NAMES]
    content = MaskFile(_masks(), INFO)
    assert header == {
        "format_version": format_version("masks"),
        "kind": "masks",
        "model": "RN50-quickgelu openai",
        "pattern": "unstructured",
        "criterion": "magnitude global",
        "schedule": "iterative 0.1, 22 rounds",
        "seed": 7,
        "weights": "trained",
        "library": sparse_ovs.__version__,
        "density": content.density,
        "layers": {
            name: {"kept": int(mask.sum()), "density": content.densities[name]}
            for name, mask in _masks().items()
        },
    }


def test_a_file_has_canonical_names_whatever_the_model_s(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    masks.save(path, masks.export(_masks(), "timm"), INFO)
    assert list(masks.load(path).masks) == NAMES


def test_a_file_of_opentrans_has_masks_and_no_info(tmp_path: Path) -> None:
    path = tmp_path / "masks.pth"
    content = {f"{name}.weight_mask": mask.float() for name, mask in _masks().items()}
    content |= {f"{name}.weight_orig": torch.randn(mask.shape) for name, mask in _masks().items()}
    torch.save({"backbone": content}, path)
    loaded = masks.load(path)
    assert loaded.info is None
    assert all(torch.equal(loaded.masks[name], mask) for name, mask in _masks().items())
    assert list(masks.apply(_model("visual."), loaded.masks)) == [f"visual.{n}" for n in NAMES]


def test_a_file_of_opentrans_tells_which_stem_it_left_out(tmp_path: Path) -> None:
    path = tmp_path / "masks.pth"
    stem = {"conv2.weight_mask": torch.ones(4, 4, 3, 3)}
    torch.save({"backbone": masks.export(_masks(), "backbone") | stem}, path)
    loaded = masks.load(path)
    assert list(loaded.masks) == NAMES
    assert loaded.left_out == ("conv2",)


def test_what_is_exported_by_the_names_of_backbones_has_the_keys_that_opentrans_reads() -> None:
    """Its loader takes `<conv>.weight_mask` under "backbone", for the blocks' convolutions."""
    exported = masks.export(masks.export(_masks(), "timm"), "backbone")
    assert list(exported) == [f"{name}.weight_mask" for name in NAMES]
    assert all(torch.equal(exported[f"{n}.weight_mask"], mask) for n, mask in _masks().items())


def test_a_header_that_does_not_say_where_masks_come_from_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    write_masks(path, _masks(), {"model": "RN50"})
    with pytest.raises(FileFormatError, match="expected a header that says where masks come from"):
        masks.load(path)


def test_info_out_of_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="expected pattern 'unstructured'"):
        MaskInfo("RN50", "4x1", "magnitude", "one-shot", None, "original")
    with pytest.raises(ValueError, match="expected weights 'original' or 'trained', got 'new'"):
        MaskInfo("RN50", "2:4", "magnitude", "one-shot", None, "new")  # type: ignore[arg-type]


def test_applying_zeroes_what_the_masks_leave_out_and_nothing_else() -> None:
    model = _model("backbone.clip_model.visual.")
    before = copy.deepcopy(model.state_dict())
    fitted = masks.apply(model, _masks())
    assert list(fitted) == [f"backbone.clip_model.visual.{name}" for name in NAMES]
    for name, mask in zip(fitted, _masks().values(), strict=True):
        conv = model.get_submodule(name)
        assert type(conv) is nn.Conv2d
        assert torch.equal(fitted[name], mask)
        assert torch.equal(conv.weight[mask], before[f"{name}.weight"][mask])
        assert torch.equal(conv.weight[~mask], torch.zeros(int((~mask).sum())))
        assert torch.equal(conv.bias, before[f"{name}.bias"])


def test_zeros_are_plain_zeros_whatever_was_there() -> None:
    model = _model()
    with torch.no_grad():
        model.get_submodule(NAMES[0]).weight.fill_(-torch.inf)
        model.get_submodule(NAMES[1]).weight.fill_(torch.nan)
    fitted = masks.apply(model, _masks())
    for name, mask in fitted.items():
        pruned = model.get_submodule(name).weight[~mask]
        assert bool((pruned == 0).all())
        assert not bool(torch.signbit(pruned).any())


def test_masks_cover_attentions() -> None:
    model = tree({"transformer.resblocks.0.attn": nn.MultiheadAttention(4, 2)})
    layer = "transformer.resblocks.0.attn"
    given = {f"{layer}.in_proj": torch.rand(12, 4) < 0.5, f"{layer}.out_proj": torch.eye(4).bool()}
    masks.apply(model, given)
    attention = model.get_submodule(layer)
    assert bool((attention.in_proj_weight[~given[f"{layer}.in_proj"]] == 0).all())
    assert int(torch.count_nonzero(attention.out_proj.weight)) == 4


def test_masks_that_do_not_fit_are_all_named_and_change_nothing() -> None:
    model = _model()
    before = copy.deepcopy(model.state_dict())
    wrong = {
        **_masks(),
        NAMES[1]: torch.ones(8, 6, 1, 1, dtype=torch.bool),
        "layer4.2.conv3": torch.ones(1, 1, 1, 1, dtype=torch.bool),
    }
    with pytest.raises(ValueError, match=r"got 2 that do not: layer1\.0\.conv2 .*layer4\.2\.conv3"):
        masks.apply(model, wrong)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_layer_that_torch_prunes_becomes_plain() -> None:
    model = _model()
    conv = model.get_submodule(NAMES[0])
    prune.l1_unstructured(conv, "weight", 0.5)
    earlier = conv.weight_mask.bool()
    mask = masks.apply(model, _masks())[NAMES[0]]
    assert isinstance(conv.weight, nn.Parameter)
    assert torch.equal(conv.weight != 0, mask & earlier)


def test_the_returned_masks_make_the_model_sparse() -> None:
    model = _model("stages.")  # a path before the names
    fitted = masks.apply(model, _masks())
    report = sparsify(model, density=None, masks=fitted, engine="native")
    for name, mask in fitted.items():
        assert torch.equal(model.get_submodule(name).mask, mask)
    assert len(report.layers) == 2


def test_applying_to_a_sparse_model_prunes_further() -> None:
    model = _model()
    first = masks.apply(model, {name: ~mask for name, mask in _masks().items()})
    sparsify(model, density=None, masks=first)
    masks.apply(model, _masks())
    assert not any(bool(model.get_submodule(name).weight.any()) for name in NAMES)


def test_orders_of_channels_come_back_by_canonical_names(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    order = torch.tensor([2, 0, 1, 5, 4, 3])
    masks.save(path, _masks(), INFO, {f"visual.{NAMES[0]}": order})
    loaded = masks.load(path)
    assert list(loaded.orders) == [NAMES[0]]
    assert torch.equal(loaded.orders[NAMES[0]], order)
    masks.save(path, _masks(), INFO)
    assert masks.load(path).orders == {}


@pytest.mark.parametrize("orders", [[1, 2], {"a": "b"}, {"a": [0.5, None]}])
def test_orders_that_are_no_numbers_are_refused(tmp_path: Path, orders: object) -> None:
    path = tmp_path / "masks.safetensors"
    write_masks(path, _masks(), {**dataclasses.asdict(INFO), "orders": orders})
    with pytest.raises(FileFormatError, match="expected orders of channels in the header"):
        masks.load(path)

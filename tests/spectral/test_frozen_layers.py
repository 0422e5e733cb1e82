"""The layers that names and selections mean, whatever a model calls them."""

import pytest
import torch
from torch import nn

from sparse_ovs.spectral import SelectedLayer, Selection, freeze
from support.small_freezing import small_model
from support.small_trunks import small_trunk


class _Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_names_fit_with_and_without_a_wrappers_prefix(wrapped: bool, prefix: str) -> None:
    inner = small_model()
    model = _Wrapper(torch.compile(inner)) if wrapped else inner
    assert freeze(model, [f"{prefix}0"], norms=True).layers == ("0",)
    assert not inner[0].weight.requires_grad


def test_canonical_names_find_the_layers_of_any_framework() -> None:
    class Segmenter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.ModuleDict({"visual": small_trunk()})
            self.head = nn.Linear(4, 4)

    model = Segmenter()
    names = ["conv1", "layer1.0.conv2", "module.backbone.visual.layer2.0.downsample.0", "head"]
    assert freeze(model, names).layers == (
        "backbone.visual.conv1",
        "backbone.visual.layer1.0.conv2",
        "backbone.visual.layer2.0.downsample.0",
        "head",
    )


def _tower() -> nn.Module:
    block = nn.ModuleDict({"mlp": nn.ModuleDict({"c_fc": nn.Linear(4, 4)})})
    return nn.ModuleDict({"resblocks": nn.ModuleList([block])})


def test_a_canonical_name_that_two_towers_share_is_refused_and_the_full_name_taken() -> None:
    name = "transformer.resblocks.0.mlp.c_fc"
    model = nn.ModuleDict(
        {"visual": nn.ModuleDict({"transformer": _tower()}), "transformer": _tower()}
    )
    with pytest.raises(ValueError, match=rf"{name} \(may be visual.{name} or {name}\)"):
        freeze(model, [name])
    assert freeze(model, [f"visual.{name}"]).layers == (f"visual.{name}",)


def test_all_names_that_do_not_fit_are_told_and_nothing_is_frozen() -> None:
    model = small_model()
    message = (
        r"expected layers of the model, got 1 \(no such layer\), x.y \(no such layer\), "
        r"0.q \(no such layer\)"
    )
    with pytest.raises(ValueError, match=message):
        freeze(model, ["0", "1", "x.y", "0.q"])
    assert all(p.requires_grad for p in model.parameters())


def test_one_string_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match="expected a selection or several names, got the string"):
        freeze(small_model(), "06")


def _selection(**shapes: tuple[int, ...]) -> Selection:
    layers = tuple(
        SelectedLayer(name.lstrip("_"), shape, 2.0, 0.1, True, 0.1, None)
        for name, shape in shapes.items()
    )
    return Selection(layers, "by hand", None, "nowhere")


def test_a_selection_freezes_its_frozen_layers() -> None:
    model = small_model()
    learnt = SelectedLayer("2", (4, 8, 1, 1), 4.0, 0.1, False, 0.1, None)
    chosen = _selection(_0=(8, 3, 3, 3))
    selection = Selection((*chosen.layers, learnt), "by hand", None, "nowhere")
    assert freeze(model, selection).layers == ("0",)
    assert model[2].weight.requires_grad


def test_a_selection_of_a_model_of_other_shapes_is_refused() -> None:
    message = r"0 \(\(8, 3, 3, 3\), selected as \(8, 3, 1, 1\)\), 9 \(no such layer\)"
    with pytest.raises(ValueError, match=message):
        freeze(small_model(), _selection(_0=(8, 3, 1, 1), _2=(4, 8, 1, 1), _9=(1, 1)))

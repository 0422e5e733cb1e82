"""Walking two encoders side by side: what layers are shown, and what is held."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs.compression.images import equal_batches, read_photos, split_images
from sparse_ovs.compression.layers import find_layers, zero_outside
from sparse_ovs.compression.walk import Inputs, walk
from sparse_ovs.engine.export import trace
from support.small_classifier import norm_factor
from support.small_clips import CONVNEXT, VIT, small_backbone
from support.small_encoders import Small


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return Small(density=1.0).eval()


@pytest.fixture
def batches() -> list[Tensor]:
    return list(torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1)).split(2))


def inputs_by_hooks(module: nn.Module, batches: list[Tensor]) -> dict[str, Tensor]:
    seen: dict[str, list[Tensor]] = {}
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            child.register_forward_pre_hook(
                lambda _, args, name=name: seen.setdefault(name, []).append(args[0])
            )
    with torch.no_grad():
        for batch in batches:
            module(batch)
    return {name: torch.cat(parts) for name, parts in seen.items()}


@pytest.mark.parametrize("memory", [1 << 30, 0])  # 0: everything lies in files
def test_layers_see_what_they_see_in_both_encoders(
    module: nn.Module, batches: list[Tensor], memory: int
) -> None:
    dense, changed = copy.deepcopy(module), copy.deepcopy(module)
    graph, other = trace(dense, batches[0]), trace(changed, batches[0])
    layers = find_layers(changed, other, batches[0])
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    shared: list[str] = []

    def visit(name: str, inputs: Inputs) -> bool:
        if all(one is other for one, other in inputs):
            shared.append(name)
        seen[name] = (torch.cat([a for a, _ in inputs]), torch.cat([b for _, b in inputs]))
        if name == "conv1":
            changed.conv1.weight.data[:, ::2] = 0  # type: ignore[index, union-attr]
            return True
        return False

    names = {each.conv.name: each.name for each in layers}
    walk(graph, other, batches, names, visit, memory)
    assert shared == ["stem", "conv1", "down"]
    for number, encoder in enumerate((dense, changed)):
        for name, expected in inputs_by_hooks(encoder, batches).items():
            assert torch.allclose(seen[name][number], expected, atol=1e-6)


def test_weights_of_layers_are_the_modules_own(module: nn.Module, batches: list[Tensor]) -> None:
    layers = find_layers(module, trace(module, batches[0]), batches[0])
    assert [each.name for each in layers] == ["stem", "conv1", "conv2", "conv3", "down"]
    for each in layers:
        each.weight.fill_(2.0)
        assert bool((module.get_submodule(each.name).weight == 2).all())  # type: ignore[union-attr]
    layers[0].shift().fill_(3.0)
    assert bool((module.norm.bias == 3).all())  # type: ignore[union-attr, operator]


def test_what_follows_a_layer_scales_its_errors(module: nn.Module, batches: list[Tensor]) -> None:
    module.norm.weight.data.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    stem, conv1, *_ = find_layers(module, trace(module, batches[0]), batches[0])
    expected = norm_factor(module)
    assert torch.allclose(stem.row_scale(), expected)
    assert torch.equal(conv1.row_scale(), torch.ones(4))
    weight = torch.randn(stem.conv.weight.shape)
    scaled = weight * expected.reshape(-1, 1, 1, 1)
    assert torch.allclose(stem.unfolded(scaled), weight, atol=1e-6)


def test_macs_of_layers_are_those_of_one_image(module: nn.Module, batches: list[Tensor]) -> None:
    layers = find_layers(module, trace(module, batches[0]), batches[0])
    assert {each.name: each.pixels for each in layers} == {
        "stem": 64,
        "conv1": 64,
        "conv2": 64,
        "conv3": 16,
        "down": 16,
    }


def test_a_transformers_projections_are_layers_of_its_tokens() -> None:
    backbone = small_backbone(VIT)
    x = torch.randn(2, 3, 32, 32)
    layers = find_layers(backbone, trace(backbone, x), x)
    assert len(layers) == 16
    assert layers[0].name == "transformer.resblocks.0.attn.in_proj"
    assert layers[0].pixels == 17


def test_depthwise_layers_of_a_backbone_are_left_out() -> None:
    backbone = small_backbone(CONVNEXT)
    x = torch.randn(1, 3, 64, 64)
    names = [each.name for each in find_layers(backbone, trace(backbone, x), x)]
    assert names
    assert not any("conv_dw" in name for name in names)


def test_a_layer_that_runs_twice_is_left_out() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.once, self.twice = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.twice(self.twice(self.once(x)).relu())

    module, x = Twice().eval(), torch.randn(1, 3, 8, 8)
    assert [each.name for each in find_layers(module, trace(module, x), x)] == ["once"]


def test_zeros_are_written_outside_masks(module: nn.Module) -> None:
    mask = torch.zeros(4, 8, 1, 1, dtype=torch.bool)
    mask[0] = True
    zero_outside(module, {"conv1": mask})
    assert int((module.conv1.weight != 0).sum()) == 8  # type: ignore[union-attr, operator, arg-type]


def test_a_tenth_of_the_images_is_held_out(module: nn.Module) -> None:
    images = torch.arange(20.0).reshape(20, 1, 1, 1).expand(20, 3, 2, 2).contiguous()
    made = split_images([images[:7], images[7:]], module)
    assert made.held_out[:, 0, 0, 0].tolist() == [9, 19]
    assert len(made.calibration) == 18
    assert [len(batch) for batch in made.batches()] == [9, 9]
    few = split_images(images[:3], module)
    assert few.held_out[:, 0, 0, 0].tolist() == [2]
    alone = split_images(images[:1], module)
    assert torch.equal(alone.held_out, alone.calibration)


def test_batches_are_equal_whatever_their_number() -> None:
    for count in range(1, 40):
        sizes = {len(batch) for batch in equal_batches(torch.zeros(count, 1, 1, 1))}
        assert len(sizes) == 1
        assert max(sizes) <= 16


def test_images_of_two_sizes_are_refused(module: nn.Module) -> None:
    with pytest.raises(ValueError, match="expected images of one size, got 3x8x8 and 3x8x9"):
        split_images([torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9)], module)


def test_no_images_are_refused(module: nn.Module, tmp_path: object) -> None:
    with pytest.raises(ValueError, match="expected at least one batch of images, got none"):
        split_images([], module)
    with pytest.raises(ValueError, match="expected images in "):
        read_photos(str(tmp_path), lambda image: torch.zeros(3, 1, 1))
    with pytest.raises(ValueError, match="expected tensors for a model without `preprocess`"):
        split_images(str(tmp_path), module)

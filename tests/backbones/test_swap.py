"""swap_backbone: finds the encoder of every kind of host and makes it sparse, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.resnet import BasicBlock
from torchvision.models.segmentation.deeplabv3 import DeepLabV3
from torchvision.models.segmentation.fcn import FCNHead

from sparse_ovs.backbones import load_masks
from sparse_ovs.backbones.hosts import find_encoder
from sparse_ovs.backbones.layer_names import canonical_name
from sparse_ovs.backbones.swap import swap_backbone
from sparse_ovs.formats import write_masks
from sparse_ovs.nn import SparseConv2d, SparseLinear, SparseMultiheadAttention
from sparse_ovs.profiling import max_relative_error
from support import host_trees
from support.models import maps_of, masked_dense

SPARSE = (SparseConv2d, SparseLinear, SparseMultiheadAttention)


class _Dict(nn.Module):
    """What torchvision's heads want of a timm encoder."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": list(self.trunk(x).values())[-1]}


def _visual() -> nn.Module:
    return host_trees.tiny_clip().visual


def _deeplab(backbone: nn.Module, channels: int) -> nn.Module:
    return host_trees.lively(DeepLabV3(backbone, FCNHead(channels, 3)))


def _getter() -> nn.Module:
    return _deeplab(IntermediateLayerGetter(_visual(), {"layer1": "res2", "layer4": "out"}), 256)


def _extractor() -> nn.Module:
    return _deeplab(create_feature_extractor(_visual(), {"layer4": "out"}), 256)


def _torchvision_resnet() -> nn.Module:
    return _deeplab(
        IntermediateLayerGetter(ResNet(BasicBlock, [1, 1, 1, 1]), {"layer4": "out"}), 512
    )


def _torchvision_timm() -> nn.Module:
    return _deeplab(_Dict(_timm(feature_cls="dict")), 256)


def _timm(**options: Any) -> nn.Module:
    return timm.create_model("small_resnet_clip", features_only=True, **options)


def _smp(name: str) -> nn.Module:
    return host_trees.lively(
        smp.Unet(name, encoder_weights=None, classes=3, decoder_channels=(16,) * 5)
    )


def _open_clip_vit() -> nn.Module:
    vision = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 64}
    text = {"layers": 1, "width": 64, "heads": 2, "context_length": 8, "vocab_size": 16}
    return open_clip.CLIP(32, vision, text).eval()


def _encode_image(model: nn.Module, x: Tensor) -> Tensor:
    return model.encode_image(x)  # type: ignore[operator]


def _visual_forward(model: nn.Module, x: Tensor) -> Tensor:
    return model.visual(x)  # type: ignore[operator]


def _inner(model: nn.Module, x: Tensor) -> Any:
    return model["module"](x)  # type: ignore[index]


def _call(model: nn.Module, x: Tensor) -> Any:
    return model(x)


PARALLEL = "module.backbone.clip_model.visual"

# host, how it is made, how it is called, where its encoder stands, swapped layers.
Case = tuple[Callable[[], nn.Module], Callable[[nn.Module, Tensor], Any], str, int]
CASES: dict[str, Case] = {
    "fc-clip": (host_trees.fc_clip, _call, "backbone.clip_model.visual", 19),
    "fc-clip, ConvNeXt": (host_trees.fc_clip_convnext, _call, "backbone.clip_model.visual", 11),
    "OpenTrans": (host_trees.open_trans, _call, "backbone", 16),
    "open_clip": (host_trees.tiny_clip, _visual_forward, "visual", 16),
    "open_clip, ViT": (_open_clip_vit, _encode_image, "visual", 6),
    "smp, timm's ResNet": (lambda: _smp("tu-small_resnet_clip"), _call, "encoder.model", 16),
    "smp, its own ResNet": (lambda: _smp("resnet18"), _call, "encoder", 19),
    "torchvision, layer getter": (_getter, _call, "backbone", 16),
    "torchvision, feature extractor": (_extractor, _call, "backbone", 16),
    "torchvision's ResNet": (_torchvision_resnet, _call, "backbone", 11),
    "torchvision, timm's maps": (_torchvision_timm, _call, "backbone.trunk", 16),
    "timm, features_only": (lambda: host_trees.lively(_timm()), _call, "", 16),
    "DataParallel": (lambda: nn.ModuleDict({"module": host_trees.fc_clip()}), _inner, PARALLEL, 19),
}


@pytest.fixture(scope="module", params=CASES)
def swapped(request: pytest.FixtureRequest) -> tuple[str, nn.Module, nn.Module, Any]:
    """The case, the dense model, the swapped one, and the report."""
    torch.manual_seed(0)
    model = CASES[request.param][0]()
    dense = copy.deepcopy(model)
    report = swap_backbone(model, density=0.3, engine="native")
    return request.param, dense, model, report


def test_the_encoder_is_found_where_the_host_keeps_it(swapped: Any) -> None:
    name, _, _, report = swapped
    _, _, place, layers = CASES[name]
    assert report.encoder == place
    native = [layer.name for layer in report.layers.layers if layer.backend == "native"]
    assert len(native) == layers
    assert str(report).startswith(f"{report.family} at {place or 'the model itself'} (")


def test_only_the_blocks_of_the_encoder_are_swapped(swapped: Any) -> None:
    _, _, model, report = swapped
    scope = report.encoder + "." if report.encoder else ""
    sparse = [n for n, m in model.named_modules() if isinstance(m, SPARSE)]
    assert sparse
    assert all(n.startswith(scope) for n in sparse)
    kept = ("attnpool", "head", "conv1", "conv2", "conv3", "stem", "proj")
    assert not [n for n in sparse if n.removeprefix(scope).partition(".")[0] in kept]


def test_keys_and_the_other_weights_stay_as_they_were(swapped: Any) -> None:
    _, dense, model, _ = swapped
    before, after = dense.state_dict(), model.state_dict()
    assert list(before) == list(after)
    sparse = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, SPARSE)}
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert {key.replace(".in_proj_weight", ".weight") for key in changed} <= sparse


def test_the_host_computes_what_it_would_with_masked_dense_weights(swapped: Any) -> None:
    name, _, model, _ = swapped
    call = CASES[name][1]
    model = copy.deepcopy(model).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = maps_of(call(model, x)), maps_of(call(masked_dense(model), x))
    assert all(float(b.abs().max()) > 0 for b in theirs)
    assert max_relative_error(ours, theirs) <= 1e-4


def test_the_host_trains(swapped: Any) -> None:
    name, _, model, _ = swapped
    model = copy.deepcopy(model).train()
    twin = masked_dense(model).train()
    x = torch.randn(2, 3, 64, 64)
    outputs = []
    for one in (model, twin):
        torch.manual_seed(1)  # of dropout
        outputs.append(maps_of(CASES[name][1](one, x)))
    ours, theirs = outputs
    assert max_relative_error([o.detach() for o in ours], [t.detach() for t in theirs]) <= 1e-3
    sum(o.square().mean() for o in ours if o.requires_grad).backward()
    assert any(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("host", ["fc-clip", "OpenTrans", "open_clip"])
def test_batchnorm_folds_where_hosts_call_it_by_name(host: str) -> None:
    make, call, _, _ = CASES[host]
    model = make().eval()
    swap_backbone(model, density=0.3, engine="native", fold_bn="eval")
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = maps_of(call(model, x)), maps_of(call(masked_dense(model), x))
    assert max_relative_error(ours, theirs) <= 1e-4


@pytest.mark.parametrize("density", [0.3, None])
def test_the_linears_of_an_attention_pool_are_never_replaced(density: float | None) -> None:
    """Whatever the pool's class is called: another name than CLIP's is not known by its name."""
    model = host_trees.fc_clip()
    pool = model.backbone.clip_model.visual.attnpool
    pool.__class__ = type("Pool", (type(pool),), {})
    with torch.no_grad():
        for parameter in model.backbone.clip_model.visual.parameters():
            if parameter.dim() > 1:
                parameter.view(-1)[::2] = 0
    report = swap_backbone(model, density=density)
    assert all(type(pool.get_submodule(f"{n}_proj")) is nn.Linear for n in "qkvc")
    assert report.layers["attnpool.q_proj"].reason.startswith("outside of the encoder's blocks")
    assert type(model.sem_seg_head) is nn.Conv2d


def test_zeros_that_are_there_are_taken() -> None:
    model = host_trees.open_trans()
    weight = model.backbone.layer2[0].conv2.weight
    with torch.no_grad():
        weight[:, ::2] = 0
    report = swap_backbone(model, density=None, engine="native")
    assert report.layers["layer2.0.conv2"].density == 0.5
    assert [x.name for x in report.layers.layers if x.backend == "native"] == ["layer2.0.conv2"]


def test_masks_by_another_framework_s_names_are_applied() -> None:
    model = host_trees.fc_clip()
    mask = torch.rand(8, 32, 1, 1) < 0.4
    swap_backbone(model, masks={"stages.0.0.conv3_1x1.conv": mask.transpose(0, 1)})
    conv = model.backbone.clip_model.visual.layer1[0].conv3
    assert torch.equal(conv.mask, mask.transpose(0, 1))


def _stem_and_block(model: nn.Module) -> dict[str, Tensor]:
    """Masks that leave half, by keys as OpenTrans's files have them."""
    names = ("conv1", "conv2", "conv3", "layer1.0.conv2")
    weights = {name: model.get_submodule(name).weight for name in names}
    return {f"{name}.weight_mask": torch.rand(w.shape) < 0.5 for name, w in weights.items()}


def test_the_stem_in_a_file_of_opentrans_is_left_out_as_its_own_loader_does(tmp_path: Path) -> None:
    model, path = host_trees.open_trans(), tmp_path / "masks.pth"
    given = _stem_and_block(model.backbone)
    torch.save({"backbone": given}, path)
    twin = copy.deepcopy(model)
    with torch.no_grad():  # what OpenTrans's loader does
        twin.backbone.layer1[0].conv2.weight.mul_(given["layer1.0.conv2.weight_mask"])
    report = swap_backbone(model, masks=path, engine="native")
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert max_relative_error(maps_of(model(x)), maps_of(twin(x))) <= 1e-4
    assert str(report).splitlines()[-1] == (
        "conv1, conv2, conv3: the file has masks for the stem, which OpenTrans's own loader leaves "
        "out; left out here too"
    )


def test_the_stem_in_a_file_or_mapping_of_ours_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    for in_file in (True, False):
        model = host_trees.open_trans()
        given = _stem_and_block(model.backbone)
        write_masks(path, load_masks(given), {})
        report = swap_backbone(model, masks=path if in_file else given)
        assert torch.equal(model.backbone.conv1.weight != 0, given["conv1.weight_mask"])
        assert report.layers.notes == []


def test_a_mask_for_weights_that_hosts_read_is_refused() -> None:
    mask = torch.rand(256, 256) < 0.4
    with pytest.raises(ValueError, match=r"got one for attnpool\.q_proj, whose weights hosts read"):
        swap_backbone(host_trees.fc_clip(), masks={"attnpool.q_proj": mask})


def test_densities_by_layer_come_from_a_profile(tmp_path: Path) -> None:
    model = _timm()
    names = {canonical_name(name) for name in find_encoder(model).scope}
    spread = {name: 0.5 if name.endswith("conv2") else 0.25 for name in names}
    (tmp_path / "spread.json").write_text(json.dumps({0.3: spread}))
    report = swap_backbone(model, density=0.3, profile=tmp_path / "spread.json")
    assert report.layers["stages_0.0.conv2_kxk.conv"].density == 0.5
    assert report.layers["stages_0.0.conv1_1x1.conv"].density == 0.25


def test_an_unknown_host_is_told_what_was_looked_for() -> None:
    model = nn.ModuleDict({"body": nn.Conv2d(3, 4, 1), "tail": nn.Conv2d(4, 2, 1)})
    with pytest.raises(ValueError, match="expected a model with an image encoder") as caught:
        swap_backbone(model)
    for word in ("backbone.clip_model.visual (fc-clip)", "encoder (smp)", "children body, tail"):
        assert word in str(caught.value)


def test_of_two_encoders_one_has_to_be_named() -> None:
    model = nn.ModuleDict({"visual": _visual(), "encoder": _visual()})
    with pytest.raises(ValueError, match=r"with visual \(open_clip\) and encoder \(smp\)"):
        swap_backbone(model)
    report = swap_backbone(model, encoder="encoder")
    assert report.encoder == "encoder"
    assert not any(isinstance(m, SPARSE) for m in model["visual"].modules())


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "expected the dotted name of a module, got 'nowhere'"),
        ("sem_seg_head", "expected a ResNet, a CLIP ViT, a ConvNeXt or a Swin, got Conv2d"),
    ],
)
def test_a_named_place_without_an_encoder_is_refused(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        swap_backbone(host_trees.fc_clip(), encoder=path)


def test_a_text_tower_is_no_encoder() -> None:
    model = _open_clip_vit()
    assert find_encoder(model).path == "visual"
    del model.visual
    with pytest.raises(ValueError, match="expected a model with an image encoder"):
        find_encoder(model)


def test_depthwise_convolutions_are_out_of_scope() -> None:
    """As they are for this project's own ConvNeXts, whose profiles name the same layers."""
    scope = find_encoder(host_trees.fc_clip_convnext()).scope
    assert "trunk.stages.0.blocks.0.mlp.fc1" in scope
    assert not [name for name in scope if name.endswith("conv_dw")]

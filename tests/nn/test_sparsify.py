"""sparsify and densify on whole models."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from sparse_ovs import densify, make_mask, sparsify
from sparse_ovs.nn import SparseConv2d, SparseLinear, SparseMultiheadAttention, SparsifyReport
from sparse_ovs.nn.report import LayerReport
from sparse_ovs.patterns import kept_count
from support.oracles import assert_as_exact_as_torch, random_mask


class Model(nn.Module):
    """A conv, a depthwise conv, a linear and an attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.attn = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.conv(x)).flatten(2).transpose(1, 2)
        x = x + self.attn(x, x, x, need_weights=False)[0]
        return self.head(x)


def _run(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def _check(model: nn.Module, x: Tensor) -> None:
    """The model computes what its densified twin computes."""
    dense = densify(copy.deepcopy(model))
    assert_as_exact_as_torch(
        _run(model, x), _run(dense.double(), x.double()), _run(dense.float(), x)
    )


X = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))


def test_eligible_layers_are_swapped_in_place_and_keep_their_parameters() -> None:
    model = Model().eval()
    parameters = dict(model.named_parameters())
    keys = list(model.state_dict())
    sparsify(model, density=0.5, engine="native")
    assert isinstance(model.conv, SparseConv2d)
    assert isinstance(model.attn, SparseMultiheadAttention)
    assert isinstance(model.head[0], SparseLinear)
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert list(model.state_dict()) == keys
    _check(model, X)


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1", "2:4", "channel"])
def test_every_pattern_keeps_its_own_count_and_runs(pattern: str) -> None:
    model = Model().eval()
    expected = make_mask(model.head[0].weight.detach(), pattern, 0.5)
    report = sparsify(model, pattern, 0.5, engine="native")
    assert torch.equal(model.head[0].mask, expected)
    assert report["head.0"].pattern == pattern
    assert report["head.0"].density == float(expected.sum()) / expected.numel()
    _check(model, X)


def test_the_report_says_what_runs_where_and_why() -> None:
    report = sparsify(Model().eval(), density=0.25, exclude=["head.2"], engine="native")
    assert [layer.name for layer in report.layers] == [
        "conv",
        "depthwise",
        "attn",
        "head.0",
        "head.2",
    ]
    assert report["conv"].backend == "native"
    assert report["conv"].reason == ""
    assert report["conv"].macs is None
    assert report["depthwise"].reason == "depthwise convolutions have too few weights to skip"
    assert report["head.2"].reason == "excluded"
    assert report["head.0"].bytes_dense == 4 * 16 * 32
    assert report["head.0"].bytes_sparse < report["head.0"].bytes_dense
    assert json.loads(json.dumps(report.to_dict()))["layers"][0]["shape"] == [16, 3, 3, 3]
    assert "3 of 5 layers run native" in str(report)
    assert "depthwise convolutions have too few weights to skip" in str(report)
    with pytest.raises(KeyError, match="expected the name of a reported layer, got 'nope'"):
        report["nope"]


def test_a_report_counts_the_layers_that_run_sparse_on_a_gpu_too() -> None:
    on_gpu = LayerReport("a", "conv2d", (4, 4, 1, 1), "block16x16", 0.1, "bsr", "", None, 64, 8)
    dense = replace(on_gpu, name="b", backend="dense", reason="excluded")
    assert "1 of 2 layers run native" in str(SparsifyReport([on_gpu, dense]))


@pytest.mark.parametrize(
    ("exclude", "sparse"),
    [
        (["head.0"], ["conv", "attn", "head.2"]),
        ("head.*", ["conv", "attn"]),
        ([nn.Linear], ["conv", "attn"]),
        (nn.Conv2d, ["attn", "head.0", "head.2"]),
        (["conv", nn.MultiheadAttention], ["head.0", "head.2"]),
    ],
)
def test_names_globs_and_types_are_excluded(exclude: object, sparse: list[str]) -> None:
    report = sparsify(Model(), density=0.5, exclude=exclude, engine="native")  # type: ignore[arg-type]
    assert [layer.name for layer in report.layers if layer.backend == "native"] == sparse


def test_without_a_density_the_zeros_that_are_there_are_taken() -> None:
    model = Model().eval()
    mask = random_mask(model.head[0].weight.shape, 0.3)
    with torch.no_grad():
        model.head[0].weight.mul_(mask)
    report = sparsify(model, density=None)
    assert torch.equal(model.head[0].mask, mask)
    assert type(model.head[2]) is nn.Linear
    assert report["head.2"].reason == "no zeros"
    _check(model, X)


def test_densities_and_masks_can_be_given_by_layer() -> None:
    model = Model().eval()
    report = sparsify(model, density={"conv": 0.5, "attn": 0.25}, engine="native")
    assert int(model.conv.mask.sum()) == kept_count(0.5, model.conv.mask.numel())
    assert model.attn.in_proj.density == 0.25
    assert report["head.0"].reason == "no density or mask was given for it"

    model = Model().eval()
    mask = random_mask((32, 16), 0.2)
    sparsify(model, density=None, masks={"head.0": mask}, engine="native")
    assert torch.equal(model.head[0].mask, mask)
    assert type(model.conv) is nn.Conv2d
    _check(model, X)


def test_a_mask_with_as_many_weights_elsewhere_replaces_the_old_one() -> None:
    model = Model().eval()
    first = torch.zeros(32, 16, dtype=torch.bool)
    first[:, :8] = True
    sparsify(model, density=None, masks={"head.0": first})
    sparsify(model, density=None, masks={"head.0": ~first})
    assert torch.equal(model.head[0].mask, ~first)


@pytest.mark.parametrize("argument", ["density", "masks"])
def test_a_name_that_is_no_layer_is_refused_and_nothing_is_changed(argument: str) -> None:
    model = Model()
    value = {"nope": 0.5} if argument == "density" else {"nope": torch.ones(1, dtype=torch.bool)}
    with pytest.raises(ValueError, match="expected the names of eligible layers, got 'nope'"):
        sparsify(model, **{argument: value})  # type: ignore[arg-type]
    assert type(model.conv) is nn.Conv2d


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"density": 0}, ValueError, "expected a density with 0 < density <= 1, got 0"),
        ({"density": -1}, ValueError, "expected a density with 0 < density <= 1, got -1"),
        ({"density": 1.5}, ValueError, "expected a density with 0 < density <= 1, got 1.5"),
        ({"density": {"conv": 2}}, ValueError, "expected a density with 0 < density <= 1, got 2"),
        ({"density": "0.1"}, TypeError, "expected a density as a number, got '0.1'"),
        ({"pattern": "4x1"}, ValueError, "expected pattern 'unstructured', .* got '4x1'"),
        ({"engine": "gpu"}, ValueError, "expected engine 'auto', 'native' or 'dense', got 'gpu'"),
        ({"fold_bn": "train"}, ValueError, "expected fold_bn False, True or 'eval', got 'train'"),
        ({"exclude": [3]}, TypeError, "expected names, globs or module types in exclude, got 3"),
    ],
)
def test_an_argument_out_of_range_is_refused_and_nothing_is_changed(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    model = Model()
    weights = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=message):
        sparsify(model, **arguments)  # type: ignore[arg-type]
    assert type(model.conv) is nn.Conv2d
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())


def test_a_single_layer_cannot_be_swapped_in_place() -> None:
    with pytest.raises(ValueError, match="expected a model whose children can be replaced"):
        sparsify(nn.Linear(4, 4), density=0.5)


@pytest.mark.parametrize("again", [{}, {"density": None}])
def test_a_second_call_changes_nothing(again: dict[str, object]) -> None:
    model = Model().eval()
    arguments = {"pattern": "block4x1", "density": 0.3, "engine": "native"}
    sparsify(model, **arguments)  # type: ignore[arg-type]
    modules = dict(model.named_modules())
    weights = copy.deepcopy(model.state_dict())
    masks = {n: m.mask.clone() for n, m in modules.items() if hasattr(m, "mask")}
    report = sparsify(model, **{**arguments, **again})  # type: ignore[arg-type]
    assert all(module is modules[name] for name, module in model.named_modules())
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())
    assert all(torch.equal(mask, modules[name].mask) for name, mask in masks.items())
    assert report["head.0"].pattern == "block4x1"


def test_a_lower_density_prunes_further() -> None:
    model = Model().eval()
    sparsify(model, density=0.5, engine="native")
    first = model.head[0].mask.clone()
    sparsify(model, density=0.25, engine="native")
    assert int(model.head[0].mask.sum()) == kept_count(0.25, first.numel())
    assert not (model.head[0].mask & ~first).any()
    _check(model, X)


def test_densify_gives_the_plain_modules_back() -> None:
    model = Model().eval()
    kinds = [type(module) for module in model.modules()]
    sparsify(model, density=0.5)
    weights = copy.deepcopy(model.state_dict())
    assert densify(model) is model
    assert [type(module) for module in model.modules()] == kinds
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())
    assert not [name for name, _ in model.named_buffers()]
    for module in model.modules():
        assert not {"mask", "pattern", "engine"} & set(vars(module))


def test_hooks_stay_with_their_layer() -> None:
    model, seen = Model().eval(), []
    model.conv.register_forward_hook(lambda *_: seen.append("hook"))
    sparsify(model, density=0.5)
    _run(model, X)
    assert seen == ["hook"]


def test_a_weight_that_two_layers_share_stays_dense() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    report = sparsify(model, density=0.5)
    assert {layer.reason for layer in report.layers} == {"its weight is shared with another module"}


def test_a_module_that_stands_twice_is_swapped_in_both_places() -> None:
    shared = nn.Linear(8, 8)
    model = nn.Sequential(shared, nn.ReLU(), shared).eval()
    sparsify(model, density=0.5, engine="native")
    assert model[0] is model[2]
    assert isinstance(model[0], SparseLinear)
    _check(model, torch.randn(2, 8))


def test_pruning_pairs_of_torch_are_resolved() -> None:
    model = Model().eval()
    prune.l1_unstructured(model.head[0], "weight", amount=0.7)
    mask = model.head[0].weight_mask.bool()
    weight = (model.head[0].weight_orig * mask).detach().clone()
    sparsify(model, density=None)
    assert torch.equal(model.head[0].mask, mask)
    assert torch.equal(model.head[0].weight, weight)
    assert set(model.head[0].state_dict()) == {"weight", "bias"}
    _check(model, X)


def test_parametrizations_are_resolved() -> None:
    class Masked(nn.Module):
        def __init__(self, mask: Tensor) -> None:
            super().__init__()
            self.register_buffer("kept", mask)

        def forward(self, weight: Tensor) -> Tensor:
            return weight * self.kept

    model = Model().eval()
    mask = random_mask((32, 16), 0.3)
    parametrize.register_parametrization(model.head[0], "weight", Masked(mask))
    sparsify(model, density=None)
    assert torch.equal(model.head[0].mask, mask)
    assert not parametrize.is_parametrized(model.head[0])
    _check(model, X)


def test_linears_whose_weights_the_host_reads_stay_dense_with_that_reason() -> None:
    from open_clip.modified_resnet import AttentionPool2d

    model = nn.Sequential(AttentionPool2d(2, 16, 4, 8)).eval()
    report = sparsify(model, density=0.5)
    assert {layer.reason for layer in report.layers} == {"AttentionPool2d reads .weight directly"}
    assert _run(model, torch.randn(1, 16, 2, 2)).shape == (1, 8)


def test_an_example_leaves_layers_dense_that_are_faster_dense_and_gives_both_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sparse_ovs.nn import measure

    def seconds(module: nn.Module, run: object) -> float:
        dense = bool(module.reason)
        return 1.0 if dense == (getattr(module, "out_features", 0) == 32) else 2.0

    monkeypatch.setattr(measure, "_seconds", seconds)
    model = Model().eval()
    report = sparsify(model, density=0.5, example_input=X)
    assert report["head.0"].backend == "dense"
    assert report["head.0"].reason == "dense is faster: 1e+03 ms against 2e+03 ms"
    assert report["head.2"].backend == "native"
    assert report["conv"].macs == 2 * 16 * 3 * 9 * 6 * 5
    _check(model, X)


def test_without_an_example_a_dense_layer_stays_dense_by_its_density() -> None:
    report = sparsify(Model().eval(), density=0.9)
    assert report["head.0"].reason == "dense is expected to be faster above density 0.5"


def test_the_mode_of_every_module_survives_the_example() -> None:
    model = Model()
    model.head.eval()
    before = {name: module.training for name, module in model.named_modules()}
    sparsify(model, density=0.5, example_input=X)
    assert {name: module.training for name, module in model.named_modules()} == before


def test_a_sparsified_model_compiles_in_one_graph() -> None:
    model = Model().eval()
    sparsify(model, density=0.5, engine="native")
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert torch.equal(_run(compiled, X), _run(model, X))


def test_a_sparsified_model_exports_with_a_dynamic_batch() -> None:
    model = Model().eval()
    sparsify(model, density=0.5, engine="native")
    program = torch.export.export(model, (X,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    many = torch.randn(5, 3, 6, 5)
    assert torch.allclose(_run(program.module(), many), _run(model, many), atol=1e-6)


def test_a_transformer_encoder_does_not_read_past_its_sparse_layers() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).eval()
    x = torch.randn(2, 5, 16)
    sparsify(model, density=0.5, engine="native")
    calls: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, (SparseLinear, SparseMultiheadAttention)):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    y = _run(model, x)
    assert "layers.0.self_attn" in calls
    assert "layers.1.linear1" in calls
    dense = densify(copy.deepcopy(model))
    assert dense.layers[0].activation_relu_or_gelu == 1
    assert dense.use_nested_tensor
    assert torch.allclose(y, _run(dense, x), atol=1e-5)

"""MACs of a training step, by layer, ours and the paper's; golden values of arXiv 2404.07448."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import sparse_ovs
from sparse_ovs.profiling import count_macs, training_cost
from sparse_ovs.profiling.training_cost import OTHER

# The layers that the authors froze.
AUTHORS = [
    *("conv1", "conv2", "conv3"),
    *(
        f"layer1.{one}"
        for one in ("0.conv1", "0.conv2", "1.conv2", "1.conv3", "2.conv2", "2.conv3")
    ),
    *(f"layer2.{one}" for one in ("0.conv1", "0.conv2", "0.downsample.0", "1.conv1", "1.conv2")),
    *(f"layer2.{one}" for one in ("2.conv2", "2.conv3", "3.conv2", "3.conv3")),
    "layer3.0.conv1",
    *(f"layer3.{block}.conv2" for block in range(6)),
    *("layer4.0.conv2", "layer4.2.conv2"),
]
IMAGES = 40_000 * 28


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.norm(self.conv1(x)).relu())
        return self.head(x.mean((2, 3)))


def backward_flops(model: nn.Module, x: Tensor) -> int:
    """What torch really multiplies in forward and backward, in MACs."""
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return counter.get_total_flops() // 2


def freeze(model: nn.Module, *names: str) -> None:
    for name in names:
        model.get_submodule(name).requires_grad_(False)


@pytest.mark.parametrize(
    "frozen", [(), ("conv2",), ("conv1",), ("conv1", "norm"), ("conv1", "norm", "conv2"), ("head",)]
)
def test_our_count_of_a_dense_step_is_what_autograd_multiplies(frozen: tuple[str, ...]) -> None:
    model, x = Net(), torch.randn(2, 3, 10, 12)
    freeze(model, *frozen)
    assert training_cost(model, x).ours(sparse=False).total == backward_flops(model, x)


def test_products_of_no_layer_are_counted_with_both_gradients() -> None:
    class Products(Net):
        def forward(self, x: Tensor) -> Tensor:
            y = self.conv1(x).flatten(2)
            return torch.einsum("ncp,ndp->ncd", y, y)

    model, x = Products(), torch.randn(2, 3, 10, 12)
    cost = training_cost(model, x)
    assert [one.name for one in cost.layers] == ["conv1", OTHER]
    assert cost.layers[1].macs.dense == 2 * 8 * 8 * 120
    assert cost.ours().total == backward_flops(model, x)


class Segmenter(nn.Module):
    """A head on an encoder, and a text tower that gives the classes it compares with."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 8, 1)
        self.text = nn.TransformerEncoderLayer(8, 2, 32, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        classes = self.text(torch.ones(5, 7, 8))[:, 0]  # 5 names of 7 tokens
        return torch.einsum("nchw,kc->nkhw", self.head(self.encoder(x).relu()), classes)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_heads_text_and_what_compares_them_are_counted(sparse: bool, training: bool) -> None:
    model = Segmenter()
    if sparse:
        sparse_ovs.sparsify(model, "unstructured", 0.5, exclude=["text"], engine="native")
    model.train(training)
    x = torch.randn(2, 3, 10, 12)
    counted = {one.name: one.macs.dense for one in training_cost(model, x).layers}
    pixels, tokens = 2 * 10 * 12, 5 * 7
    assert counted == {
        "encoder": 16 * 3 * 9 * pixels,
        "head": 8 * 16 * pixels,
        "text.self_attn": tokens * (4 * 8 * 8 + 2 * 7 * 8),
        "text.linear1": tokens * 8 * 32,
        "text.linear2": tokens * 8 * 32,
        OTHER: pixels * 5 * 8,
    }


def test_a_frozen_text_tower_costs_its_forward() -> None:
    model = Segmenter()
    freeze(model, "text")
    for one in training_cost(model, torch.randn(1, 3, 8, 8)).layers:
        if one.name.startswith("text."):
            step = one.ours()
            assert step.forward > 0
            assert step.input_gradient == step.weight_gradient == 0


def test_zeros_are_left_out_of_all_three_in_our_count() -> None:
    model, x = Net(), torch.randn(1, 3, 8, 8)
    model.conv2.weight.data[:, :6] = 0
    costs = {one.name: one for one in training_cost(model, x).layers}
    dense, step = count_macs(model, x)["conv2"].dense, costs["conv2"].ours()
    assert (step.forward, step.input_gradient, step.weight_gradient) == (dense / 4,) * 3
    paper = costs["conv2"].paper()
    assert (paper.forward, paper.input_gradient, paper.weight_gradient) == (
        dense / 4,
        dense,
        dense / 4,
    )


def test_counting_changes_nothing() -> None:
    model, x = Net().train(), torch.randn(2, 3, 8, 8)
    freeze(model, "conv1")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training_cost(model, x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 6
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.fixture(scope="module")
def authors() -> tuple[nn.Module, Tensor]:
    """CLIP's RN50 trunk with the authors' layers frozen, for 512 x 512."""
    backbone = sparse_ovs.create_backbone("RN50")
    freeze(backbone, *AUTHORS)
    return backbone, torch.randn(1, 3, 512, 512)


def test_the_authors_list_gives_their_shares_and_savings(authors: tuple[nn.Module, Tensor]) -> None:
    backbone, x = authors
    cost = training_cost(backbone, x)
    frozen = [one for one in cost.layers if one.frozen]
    assert len(frozen) == 27
    gmac = sum(one.macs.dense for one in frozen) / 1e9
    assert gmac == pytest.approx(19.38, abs=0.005)
    assert cost.frozen_share == pytest.approx(0.691, abs=5e-4)
    weights = {one.name: backbone.get_submodule(one.name).weight.numel() for one in cost.layers}
    share = sum(weights[one.name] for one in frozen) / sum(weights.values())
    assert share == pytest.approx(0.405, abs=5e-4)
    saved = cost.paper(frozen=False).total - cost.paper().total
    assert saved * IMAGES / 1e15 == pytest.approx(21.7, abs=0.05)


def test_the_papers_saving_of_sparse_and_frozen_follows_from_exact_counts(
    authors: tuple[nn.Module, Tensor],
) -> None:
    backbone, x = authors
    cost = training_cost(backbone, x)
    dense = cost.paper(frozen=False, sparse=False)
    # Uniform density 0.1, as the paper assumes: 1.8 C of a step of 3 C, and 0.1 C of frozen layers.
    whole = sum(one.macs.dense for one in cost.layers)
    frozen = sum(one.macs.dense for one in cost.layers if one.frozen)
    assert dense.total == 3 * whole
    saved = (1.8 * whole + 0.1 * frozen) * IMAGES / 1e15
    assert saved == pytest.approx(58.70, abs=0.01)


def test_a_sparse_trunk_saves_by_the_papers_count_what_its_formula_says() -> None:
    backbone = sparse_ovs.densify(sparse_ovs.create_backbone("RN50", density=0.1))
    freeze(backbone, *AUTHORS)
    cost = training_cost(backbone, torch.randn(1, 3, 64, 64))
    saved = cost.paper(frozen=False, sparse=False).total - cost.paper().total
    dense = sum(one.macs.dense for one in cost.layers)
    kept = sum(one.macs.sparse for one in cost.layers)
    kept_frozen = sum(one.macs.sparse for one in cost.layers if one.frozen)
    assert saved == pytest.approx(2 * (dense - kept) + kept_frozen)

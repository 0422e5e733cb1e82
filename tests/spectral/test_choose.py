"""From a table to a selection, by every rule, level and control."""

import pytest

from sparse_ovs.spectral import SpectralTable, choose
from sparse_ovs.spectral.levels import group_layers
from support.small_tables import row, table

_ALPHAS = {
    "conv1": 2.0,
    "layer1.0.conv1": 3.0,
    "layer1.0.conv2": 2.2,
    "layer1.1.conv1": 4.0,
    "layer2.0.conv1": 5.0,
    "layer2.0.downsample.0": 2.5,
}


@pytest.mark.parametrize(
    ("select", "frozen"),
    [
        ("median", ["conv1", "layer1.0.conv2", "layer2.0.downsample.0"]),
        ("reverse", ["layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1"]),
        ("ratio", ["conv1", "layer1.0.conv2"]),
        ("gap", ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.downsample.0"]),
        ("none", []),
        ("all-3x3", list(_ALPHAS)),
    ],
)
def test_what_is_frozen(select: str, frozen: list[str]) -> None:
    selection = choose(table(_ALPHAS), select, "RN50 none", ratio=0.4)
    assert selection.frozen == frozen
    assert [layer.alpha for layer in selection.layers] == list(_ALPHAS.values())
    assert (selection.source, selection.seed) == ("RN50 none", None)


def test_a_budget_of_macs_is_kept() -> None:
    rows = (
        row("a", 2.0, mac_share=0.1),
        row("b", 3.0, mac_share=0.2),
        row("c", 4.0, mac_share=0.6),
    )
    assert choose(SpectralTable("mid", rows), "budget", trained_macs=0.4).frozen == ["c"]


def test_blocks_are_frozen_whole_by_the_mean_of_their_layers() -> None:
    """stem 2.0, layer1.0 2.6, layer1.1 4.0, layer2.0 3.75"""
    selection = choose(table(_ALPHAS), level="block")
    assert selection.frozen == ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    assert selection.method.endswith("by block")


def test_stages_are_frozen_whole() -> None:
    """stem 2.0, layer1 3.07, layer2 3.75"""
    frozen = choose(table(_ALPHAS), "ratio", level="stage", ratio=0.67).frozen
    assert frozen == ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1"]


def test_several_metrics_are_joined_by_rank() -> None:
    rows = (
        row("a", 1.5, entropy=0.9),
        row("b", 1.6, entropy=0.1),
        row("c", 9.0, entropy=0.5),
    )
    chosen = choose(SpectralTable("mid", rows), metrics=("alpha", "entropy"))
    assert chosen.frozen == ["b"]
    assert "mean rank of alpha, entropy" in chosen.method


def test_random_controls_match_the_median_and_keep_their_seed() -> None:
    first, other = (choose(table(_ALPHAS), "random", seed=seed) for seed in (0, 1))
    assert len(first.frozen) == len(other.frozen) == 3
    assert (first.seed, other.seed) == (0, 1)
    assert choose(table(_ALPHAS), "random", seed=1) == other


def test_random_controls_match_another_selection() -> None:
    like = choose(table(_ALPHAS), "ratio", ratio=0.9)
    assert len(choose(table(_ALPHAS), "random", like=like).frozen) == 5
    matched = choose(table(_ALPHAS), "random-macs", like=like)
    assert matched.frozen_macs == pytest.approx(like.frozen_macs)


def test_macs_are_asked_for_where_the_table_has_none() -> None:
    without = table(_ALPHAS, mac_share=None)
    for select in ("budget", "random-macs"):
        with pytest.raises(ValueError, match="expected a table with MACs"):
            choose(without, select)
    assert choose(without).frozen_macs is None


def test_stages_of_other_families() -> None:
    convnext = ["stem.0", "stages.1.downsample.1", "stages.1.blocks.0.mlp.fc1"]
    assert list(group_layers(convnext, "stage")) == ["stem", "stages.1"]
    assert list(group_layers(convnext, "block")) == [
        *("stem", "stages.1.downsample", "stages.1.blocks.0")
    ]
    vit = [f"transformer.resblocks.{block}.mlp.c_fc" for block in range(12)]
    sizes = [len(names) for names in group_layers(vit, "stage").values()]
    assert sizes == [3, 3, 3, 3]
    assert len(group_layers(vit, "block")) == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"select": "best"}, "expected a selection of median"),
        ({"metrics": ("beta",)}, "expected metrics of alpha"),
        ({"metrics": ()}, "at least one metric"),
        ({"level": "net"}, "expected a level of layer"),
    ],
)
def test_unknown_names_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        choose(table(_ALPHAS), **arguments)  # type: ignore[arg-type]

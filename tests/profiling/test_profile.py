"""A whole profile: its record, tables, page and pictures, on a small encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from sparse_ovs import create_backbone, save
from sparse_ovs.profiling import (
    Profile,
    make_pair,
    max_relative_error,
    profile_encoder,
    profile_tables,
    stage_rows,
    write_html,
)
from sparse_ovs.profiling.pictures import pca_colours


def small_profile(mode: str) -> Profile:
    return profile_encoder(
        "RN50", 0.1, "block4x1", (64, 96), 1, threads=1, mode=mode, baselines=["eager"], rounds=2
    )


@pytest.fixture(scope="module")
def profile() -> Profile:
    return small_profile("plan")


@pytest.fixture(scope="module")
def profile_of_modules() -> Profile:
    return small_profile("modules")


def test_the_record_is_plain_json_with_what_was_measured(profile: Profile) -> None:
    record = json.loads(json.dumps(profile.to_dict()))
    assert record["model"] == "RN50"
    assert record["pattern"] == "block4x1"
    assert record["size"] == [64, 96]
    assert record["threads"] == 1
    assert record["dense_ms"]["eager"] > 0
    assert record["dense_ms"]["compiled"] is None
    assert record["sparse_ms"] > 0
    assert record["speedup"] > 0
    assert 0 < record["max_rel_err"] <= 1e-4
    layer = next(row for row in record["layers"] if row["name"] == "layer1.0.conv2")
    assert layer["stage"] == "layer1"
    assert layer["shape"] == [64, 64, 3, 3]
    assert layer["pattern"] == "block4x1"
    assert layer["density"] == pytest.approx(0.1, abs=0.001)
    assert layer["macs_sparse"] == pytest.approx(0.1 * layer["macs_dense"], rel=0.01)
    assert layer["bytes_sparse"] < 0.2 * layer["bytes_dense"]


def test_parameters_and_bytes_add_up(profile: Profile) -> None:
    pruned = [row for row in profile.layers if row.name.startswith("layer")]
    weights = [int(np.prod(row.shape)) for row in pruned]
    kept = sum(round(row.density * count) for row, count in zip(pruned, weights, strict=True))
    assert profile.params_dense == 23_527_264
    assert profile.params_kept == profile.params_dense - sum(weights) + kept
    assert profile.macs_sparse == sum(row.macs_sparse for row in profile.layers)
    saved = sum(row.bytes_dense - row.bytes_sparse for row in profile.layers)
    assert profile.bytes_dense - profile.bytes_sparse == saved


def test_every_dense_layer_has_a_reason(profile: Profile, profile_of_modules: Profile) -> None:
    for row in profile.layers:
        assert row.backend.startswith("sparse") == (not row.reason)
    for row in profile_of_modules.layers:
        assert (row.backend == "dense") == bool(row.reason)


def test_the_plan_s_steps_are_the_layers_times_and_backends(profile: Profile) -> None:
    assert profile.mode == "plan"
    rows = {row.name: row for row in profile.layers}
    assert rows["layer1.0.conv2"].backend == "sparse rows4"
    assert all(row.ms_sparse > 0 for row in profile.layers)
    stages = sum(stage.ms_sparse for stage in profile.extras.stages)
    assert stages > sum(row.ms_sparse for row in profile.layers)  # pooling too
    assert profile.extras.between.ms_sparse == pytest.approx(0, abs=1e-6)


def test_the_modules_of_both_modes_have_the_same_work(
    profile: Profile, profile_of_modules: Profile
) -> None:
    assert profile.macs_sparse == profile_of_modules.macs_sparse
    assert profile.params_kept == profile_of_modules.params_kept
    for a, b in zip(profile.layers, profile_of_modules.layers, strict=True):
        assert (a.name, a.kind, a.shape, a.density) == (b.name, b.kind, b.shape, b.density)


def test_stages_sum_their_layers_in_order(profile: Profile) -> None:
    rows = stage_rows(profile)
    assert [row.stage for row in rows] == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert [row.layers for row in rows] == [3, 10, 13, 19, 10]
    assert rows[0].density == 1
    assert rows[2].density == pytest.approx(0.1, abs=0.002)
    assert sum(row.macs_dense for row in rows) == profile.macs_dense


def test_tables_show_contestants_stages_and_layers(profile: Profile) -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in profile_tables(profile):
        console.print(table)
    text = " ".join(console.export_text().split())  # titles wrap
    for word in ("torch eager", "sparse_ovs, plan", "layer3.5.conv2", "between modules"):
        assert word in text
    assert "sparse: steps of the plan" in text
    assert "random weights" in text
    assert "1 thread," in text


def test_the_page_is_whole_and_escaped(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_html(profile, path, ["5 < 6 & so on"], [("a.png", "a caption")])
    page = path.read_text()
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "5 &lt; 6 &amp; so on" in page
    assert '<img src="a.png"' in page
    assert page.count("<tr>") == 3 + 5 + 5 + 1 + 55  # heads, contestants, stages, between, layers


def test_pca_colours_of_equal_maps_are_equal_and_of_other_maps_are_not() -> None:
    reference = torch.randn(8, 6, 5)
    colours = pca_colours(reference, reference)
    assert colours.shape == (6, 5, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert colours.std() > 0.1
    assert np.array_equal(colours, pca_colours(reference.clone(), reference))
    assert not np.allclose(colours, pca_colours(-reference, reference))


def test_pca_colours_of_a_single_pixel_or_channel_work() -> None:
    for shape in ((4, 1, 1), (1, 5, 4), (2, 1, 3)):
        reference = torch.randn(shape)
        assert pca_colours(reference, reference).shape == (*shape[1:], 3)


def test_the_largest_relative_error_is_over_all_maps_and_nan_is_infinite() -> None:
    b = [torch.tensor([1.0, -2.0]), torch.tensor([4.0])]
    assert max_relative_error([b[0] + torch.tensor([0.5, 0]), b[1]], b) == 0.25
    assert max_relative_error([b[0], b[1] * float("nan")], b) == float("inf")


def test_a_pair_has_equal_weights_and_every_branch_counts() -> None:
    pair = make_pair("RN50", torch.randn(1, 3, 64, 64), 0.1)
    sparse, dense = pair.sparse.state_dict(), pair.dense.state_dict()
    assert all(torch.equal(sparse[key], value) for key, value in dense.items())
    assert bool((pair.dense.layer1[0].bn3.weight != 0).all())
    assert pair.weights == "random"
    assert pair.profile == "uniform"


@pytest.mark.slow
def test_the_zeros_of_a_saved_encoder_are_profiled_as_weights(tmp_path: Path) -> None:
    backbone = create_backbone("RN50", density=0.2, pattern="unstructured")
    save(backbone, tmp_path / "rn50")
    made = profile_encoder(
        "RN50",
        "weights",
        size=(64, 64),
        pretrained=tmp_path / "rn50",
        baselines=["eager"],
        rounds=1,
    )
    assert made.density == "weights"
    assert made.profile is None
    assert made.layers[10].density == pytest.approx(0.2, abs=0.001)


@pytest.mark.slow
def test_the_trained_profile_and_all_baselines_are_profiled() -> None:
    made = profile_encoder("RN50", 0.1, size=(64, 64), profile="trained", rounds=1)
    assert made.extras.failures == {}
    assert all(ms is not None for ms in made.dense_ms.values())
    densities = {row.name: row.density for row in made.layers}
    assert densities["layer1.0.conv1"] > 2 * densities["layer4.2.conv2"]
    assert made.max_rel_err <= 1e-4

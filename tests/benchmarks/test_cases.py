"""The table of cases, the full grid, and what is measured for them."""

from __future__ import annotations

import pytest

from peer_runs.cases import INT8_TABLE, TABLE, full_grid, group, select
from peer_runs.contestants import CONTESTANTS, DENSE, DENSE_TORCH

ORT, DEEPSPARSE = ("onnxruntime",), ("deepsparse",)
# size, batch, threads, density, pattern, profile, against, floor, goal
EXPECTED = [
    ((640, 640), 1, 1, 0.1, "unstructured", "trained", ORT, 2.5, 3.8),
    ((640, 640), 1, 1, 0.1, "unstructured", "trained", DEEPSPARSE, 1.4, 2.2),
    ((640, 640), 1, 1, 0.1, "unstructured", "uniform", ORT, 3.5, 5),
    ((640, 640), 1, 1, 0.1, "unstructured", "uniform", DEEPSPARSE, 1.8, 2.6),
    ((640, 640), 1, 1, 0.1, "block4x1", "uniform", ORT, 5, 7),
    ((224, 224), 1, 1, 0.1, "unstructured", "uniform", DENSE, 2.6, 4.5),
    ((800, 1216), 1, 2, 0.1, "unstructured", "uniform", DENSE, 3.5, 5),
    ((224, 224), 8, 2, 0.1, "unstructured", "uniform", DENSE, 3, 4.5),
    ((224, 224), 1, 2, 0.1, "block4x1", "uniform", DENSE, 2.5, 4),
    ((640, 640), 1, 1, 0.1, "unstructured", "uniform", ("sparse_ovs",), 1.8, 1.95),
    ((640, 640), 1, 1, 0.5, "unstructured", "uniform", DENSE_TORCH, 0.95, 1.2),
]


@pytest.mark.parametrize("index", range(11))
def test_the_table_has_the_cases_with_their_floors_and_goals(index: int) -> None:
    row, c = TABLE[index], TABLE[index].configuration
    told = (c.size, c.batch, c.threads, c.density, c.pattern, c.profile)
    assert (*told, row.against, row.floor, row.goal) == EXPECTED[index]
    assert c.model == ("ViT-B-16" if index == 8 else "RN50")
    assert row.ours == ("sparse_ovs_2_threads" if index == 9 else "sparse_ovs")
    assert len(TABLE) == 11


# size, batch, threads, density, pattern, profile, floor, goal
EXPECTED_INT8 = [
    ((640, 640), 1, 1, 0.1, "unstructured", "uniform", 2.6, 3.3),
    ((640, 640), 1, 1, 0.1, "unstructured", "trained", 2.0, 2.5),
    ((640, 640), 1, 1, 0.1, "block4x1", "uniform", 3.3, 4.3),
    ((640, 640), 1, 1, 0.1, "block4x1", "trained", 2.7, 3.6),
    ((640, 640), 1, 1, 1.0, "unstructured", "uniform", 0.95, 1.0),
    ((640, 640), 1, 1, 0.1, "unstructured", "uniform", 1.8, 1.95),
    ((640, 640), 1, 2, 0.1, "unstructured", "uniform", None, None),
    ((224, 224), 1, 1, 0.1, "unstructured", "uniform", None, None),
    ((224, 224), 8, 2, 0.1, "unstructured", "uniform", None, None),
    ((800, 1216), 1, 2, 0.1, "unstructured", "uniform", None, None),
]


@pytest.mark.parametrize("index", range(10))
def test_the_int8_table_has_the_cases_with_their_floors_and_goals(index: int) -> None:
    row, c = INT8_TABLE[index], INT8_TABLE[index].configuration
    told = (c.size, c.batch, c.threads, c.density, c.pattern, c.profile)
    assert (*told, row.floor, row.goal) == EXPECTED_INT8[index]
    assert row.name.startswith("int8-")
    assert c.precision == "int8"
    itself = index == 5
    assert row.against == (("sparse_ovs_int8",) if itself else ("openvino_int8",))
    assert row.ours == ("sparse_ovs_int8_2_threads" if itself else "sparse_ovs_int8")
    assert len(INT8_TABLE) == 12


def test_int8_shares_its_files_with_fp32_and_no_measurement() -> None:
    fp32, int8 = select(TABLE, "03-*")[0].configuration, INT8_TABLE[0].configuration
    assert fp32.weights_name == int8.weights_name
    assert (fp32.name, int8.name) == (f"{fp32.weights_name}-t1", f"{fp32.weights_name}-t1-int8")
    assert (fp32.ours, int8.ours) == ("sparse_ovs", "sparse_ovs_int8")
    assert not group(TABLE, None).keys() & group(INT8_TABLE, None).keys()


def test_int8_is_measured_beside_the_other_runtimes_and_our_fp32() -> None:
    assert group(INT8_TABLE[:1], None)[INT8_TABLE[0].configuration] == [
        "sparse_ovs",
        "sparse_ovs_int8",
        "openvino_bf16",
        "openvino_int8",
        "onnxruntime_int8",
        "torch_int8",
    ]


def test_the_dense_peers_are_torch_four_ways_and_two_runtimes() -> None:
    assert set(DENSE) == {*DENSE_TORCH, "onnxruntime", "openvino"}
    assert len(DENSE_TORCH) == 4
    assert set(DENSE) <= set(CONTESTANTS)


def test_each_configuration_is_measured_once_with_all_that_its_rows_need() -> None:
    wanted = group(TABLE, None)
    assert len(wanted) == 8
    rows = {row.name: row for row in TABLE}
    shared = wanted[rows["03-uniform-ort"].configuration]
    assert shared == ["sparse_ovs", "sparse_ovs_2_threads", "onnxruntime", "deepsparse"]
    assert rows["01-trained-ort"].configuration == rows["02-trained-deepsparse"].configuration
    assert wanted[rows["06-224-best"].configuration] == ["sparse_ovs", *DENSE]


def test_peers_that_are_not_asked_for_stay_away_but_ours_stays() -> None:
    wanted = group(TABLE, ["openvino"])
    assert set().union(*wanted.values()) == {"sparse_ovs", "sparse_ovs_2_threads", "openvino"}
    with pytest.raises(ValueError, match=r"expected peers of eager, .*, got 'tensorrt'"):
        group(TABLE, ["tensorrt"])


def test_only_selects_by_case_or_configuration() -> None:
    assert [row.name for row in select(TABLE, "0[12]-*")] == [
        "01-trained-ort",
        "02-trained-deepsparse",
    ]
    assert len(select(TABLE, "RN50-640x640-b1-uniform-0.1-unstructured-t1")) == 3
    assert select(TABLE, None) == list(TABLE)
    with pytest.raises(ValueError, match=r"expected a case such as 01-trained-ort, .*got '12-x'"):
        select(TABLE, "12-x")


def test_the_full_grid_has_every_combination_and_dense_deepsparse() -> None:
    wanted = group(list(full_grid()), None)
    # 3 sizes, 2 batches, 2 thread counts, 2 patterns, 6 uniform and 4 trained densities
    assert len(wanted) == len({c.name for c in wanted}) == 3 * 2 * 2 * 2 * 10
    assert {c.density for c in wanted if c.profile == "uniform"} == {0.02, 0.05, 0.1, 0.2, 0.3, 0.5}
    assert {c.density for c in wanted if c.profile == "trained"} == {0.05, 0.1, 0.2, 0.3}
    assert {c.size for c in wanted} == {(224, 224), (640, 640), (800, 1216)}
    assert {(c.batch, c.threads) for c in wanted} == {(1, 1), (1, 2), (8, 1), (8, 2)}
    expected = {"sparse_ovs", *DENSE, "deepsparse", "deepsparse_dense"}
    assert all(set(names) == expected for names in wanted.values())


def test_thread_counts_share_weights_and_nothing_else_does() -> None:
    configurations = list(group(list(full_grid()), None))
    for one, two in zip(configurations[::2], configurations[1::2], strict=True):
        assert one.weights_name == two.weights_name
        assert (one.threads, two.threads) == (1, 2)
    assert len({c.weights_name for c in configurations}) == len(configurations) // 2

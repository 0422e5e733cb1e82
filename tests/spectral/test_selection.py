"""Selections as files."""

import json
from pathlib import Path

import pytest

from sparse_ovs.formats import FileFormatError
from sparse_ovs.spectral import (
    Selection,
    check_selection,
    choose,
    load_selection,
    make_selection,
    save_selection,
)
from support.small_tables import table

_TABLE = table({"conv1": 2.0, "conv2": 3.0, "conv3": 4.0})


@pytest.fixture
def selection() -> Selection:
    return choose(_TABLE, "random", "RN50 openai", seed=7)


@pytest.fixture
def path(tmp_path: Path, selection: Selection) -> Path:
    file = tmp_path / "selection.json"
    save_selection(file, selection)
    return file


def test_what_is_saved_is_loaded(path: Path, selection: Selection) -> None:
    assert load_selection(path) == selection


def test_macs_may_be_unknown(tmp_path: Path) -> None:
    unknown = choose(table({"a": 2.0, "b": 3.0}, mac_share=None))
    save_selection(tmp_path / "s.json", unknown)
    assert load_selection(tmp_path / "s.json") == unknown


def test_the_file_says_what_the_issue_lists(path: Path) -> None:
    content = json.loads(path.read_text())
    assert {"layers", "method", "seed", "source"} <= content.keys()
    assert list(content["layers"][0]) == [
        *("name", "shape", "alpha", "fit_distance", "frozen", "weight_share", "mac_share")
    ]


def test_all_problems_are_told_together(path: Path) -> None:
    content = json.loads(path.read_text())
    content["seed"] = "seven"
    content["layers"][0].update(alpha=0.5, frozen="yes")
    content["layers"][1]["name"] = "conv1"
    content["layers"][2]["shape"] = [3, -1]
    del content["layers"][2]["fit_distance"]
    content["layers"][2]["beta"] = 1
    path.write_text(json.dumps(content))
    with pytest.raises(FileFormatError) as caught:
        load_selection(path)
    for problem in (
        "seed 'seven'",
        "conv1: alpha 0.5",
        "conv1: frozen 'yes'",
        "conv1: twice",
        "conv3: shape [3, -1]",
        "conv3: no fit_distance",
        "conv3: unknown beta",
    ):
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 2}, "update sparse_ovs"),
        ({"format_version": 0}, "format_version 0"),
        ({"kind": "masks"}, "got another file"),
        ({"layers": None}, "no list of layers"),
        ({"method": 3}, "method 3"),
    ],
)
def test_newer_foreign_and_broken_files_are_refused(
    path: Path, change: dict[str, object], words: str
) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FileFormatError, match=words):
        load_selection(path)


@pytest.mark.parametrize("share", [float("nan"), 1.5, True])
def test_shares_that_are_none_are_refused(path: Path, share: float) -> None:
    content = json.loads(path.read_text())
    content["layers"][0]["weight_share"] = share
    path.write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match="conv1: weight_share"):
        load_selection(path)


def test_a_cut_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError, match="in JSON"):
        load_selection(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a selection"):
        load_selection(tmp_path / "none.json")


def test_layers_that_the_table_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="got conv8, conv9"):
        make_selection(_TABLE, ["conv1", "conv9", "conv8"], "by hand", "RN50")


def test_a_selection_of_another_model_is_refused(selection: Selection) -> None:
    shapes = {layer.name: layer.shape for layer in selection.layers}
    check_selection(selection, shapes)
    other = {"conv2": (8, 8, 1, 1), "conv3": shapes["conv3"], "fc": (4, 4)}
    with pytest.raises(ValueError, match="3 that differ") as caught:
        check_selection(selection, other)
    for problem in ("conv1 (not in the model)", "fc (not in the selection)", "conv2 ((8, 8, 3, 3)"):
        assert problem in str(caught.value)

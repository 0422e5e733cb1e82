"""Tunings on disk: kept apart by machine, merged, and no trouble when damaged or unwritable."""

from __future__ import annotations

import json
import multiprocessing
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from sparse_ovs import _native
from sparse_ovs._native import Tuning
from sparse_ovs.cache import cache_folder
from sparse_ovs.engine import tuning_cache
from sparse_ovs.engine.tuning_cache import Choice, load_tunings, store_tunings

CHOICE = Choice(Tuning(2, 40, 16, 0, 3))
SIZE = (1, 30, 40)


@pytest.fixture(autouse=True)
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tunings.json"


def test_what_was_stored_is_loaded() -> None:
    found = {"a": {SIZE: CHOICE, (2, 5, 6): Choice(Tuning(), dense=True)}}
    store_tunings(found)
    assert load_tunings() == found


def test_nothing_is_known_at_first() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_tunings() == {}


def test_tunings_are_merged_and_the_last_one_of_a_problem_stays() -> None:
    store_tunings({"a": {SIZE: CHOICE}, "b": {SIZE: CHOICE}})
    newer = Choice(Tuning(k_tile=7))
    store_tunings({"a": {SIZE: newer, (1, 1, 1): CHOICE}})
    assert load_tunings() == {"a": {SIZE: newer, (1, 1, 1): CHOICE}, "b": {SIZE: CHOICE}}


@pytest.mark.parametrize("name", ["cpu_name", "isa"])
def test_another_machine_s_tunings_are_kept_and_not_taken(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store_tunings({"a": {SIZE: CHOICE}})
    with monkeypatch.context() as patch:
        patch.setattr(_native, name, lambda: "another")
        assert load_tunings() == {}
        store_tunings({"b": {SIZE: CHOICE}})
    assert load_tunings() == {"a": {SIZE: CHOICE}}


def test_another_version_s_tunings_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    store_tunings({"a": {SIZE: CHOICE}})
    monkeypatch.setattr(tuning_cache, "__version__", "99.0")
    assert load_tunings() == {}


def _entry(name: str, value: object) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        (layers,) = content["tunings"].values()
        layers["a"]["1x30x40"][name] = value

    return change


@pytest.mark.parametrize(
    "damage",
    [
        _entry("panel", 9),
        _entry("k_tile", -1),
        _entry("k_tile", 2.5),
        _entry("dense", "yes"),
        _entry("colour", 1),
        lambda content: content.pop("tunings"),
        lambda content: content.update(format_version=2),
        lambda content: content.update(tunings=[1]),
        lambda content: content["tunings"].update(machine={"a": {"1x2": {"dense": False}}}),
    ],
)
def test_a_damaged_file_is_ignored_with_a_warning_and_written_anew(
    file: Path, damage: Callable[[dict], None]
) -> None:
    store_tunings({"a": {SIZE: CHOICE}})
    content = json.loads(file.read_text())
    damage(content)
    file.write_text(json.dumps(content))
    with pytest.warns(RuntimeWarning, match="damaged or foreign"):
        assert load_tunings() == {}
    with pytest.warns(RuntimeWarning, match="damaged or foreign"):
        store_tunings({"b": {SIZE: CHOICE}})
    assert load_tunings() == {"b": {SIZE: CHOICE}}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_a_file_that_is_no_json_object_is_ignored_with_a_warning(
    file: Path, content: bytes
) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="damaged or foreign"):
        assert load_tunings() == {}


def test_a_folder_that_cannot_be_written_is_told_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path / "taken"))
    with pytest.warns(RuntimeWarning, match="to be writable"):
        store_tunings({"a": {SIZE: CHOICE}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store_tunings({"a": {SIZE: CHOICE}})
        assert load_tunings() == {}


def _store(number: int) -> None:
    for size in range(1, 6):
        store_tunings({f"layer {number}": {(1, size, size): CHOICE}})


def test_processes_that_write_at_once_lose_nothing() -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_store, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {layer: len(sizes) for layer, sizes in load_tunings().items()} == {
        f"layer {number}": 5 for number in range(4)
    }


def test_the_folder_is_the_user_s_cache_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SPARSE_OVS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "sparse_ovs"


@pytest.mark.parametrize("fields", [{"panel": 4}, {"tile_rows": -1}, {"k_tile": 2**31}])
def test_a_tuning_of_no_sense_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"expected \w+ from 0 to"):
        Tuning(**fields)

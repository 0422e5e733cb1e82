"""Settings in TOML: complete when written, checked when read."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sparse_ovs.training import (
    SegmentationTraining,
    build,
    build_task,
    describe,
    describe_task,
    find_recipe,
    override,
    read_toml,
    recipe_names,
)
from sparse_ovs.training.settings import setting


def test_what_is_written_is_read_back() -> None:
    made = build(
        SegmentationTraining,
        {
            "model": {"sizes": {"dim": 64}, "pretrained": 'a "quoted" path'},
            "data": {"scale": [1, 2.5], "flip": False},
            "losses": {"points": 7},
        },
    )
    assert build(SegmentationTraining, tomllib.loads(describe(made))) == made


def test_every_setting_is_written_with_its_meaning() -> None:
    text = describe(SegmentationTraining())
    lines = [line for line in text.splitlines() if " = " in line.partition("#")[0]]
    assert len(lines) > 40
    assert all(line.partition("  # ")[2] for line in lines)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_complete_toml_of_known_settings(name: str) -> None:
    made = build_task(read_toml(find_recipe(name)))
    assert build_task(tomllib.loads(describe_task(made))) == made


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a task of segmentation, clip, got 'sing'"):
        build_task({"task": "sing"})


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"run": {"step": 3}}, r"expected settings of steps, .*, got run.step; did you mean steps"),
        ({"modle": {}}, r"expected settings of model, .*, got modle; did you mean model"),
        ({"run": {"steps": "3"}}, "expected run.steps of type int, got '3'"),
        ({"run": {"steps": True}}, "expected run.steps of type int, got True"),
        ({"run": 3}, r"expected a table \[run\], got 3"),
        ({"data": {"scale": [1, "2"]}}, r"expected data.scale\[1\] of type float, got '2'"),
        ({"run": {"steps": 0}}, r"expected steps >= 1, got 0, in \[run\]"),
        ({"schedule": {"name": "line"}}, "expected a schedule of constant, step, poly, cosine"),
        ({"encoder": {"freeze": True, "selection": "a"}}, "expected a selection or a frozen enc"),
        ({"schedule": {"name": "poly", "warmup": 9}, "run": {"steps": 9}}, "expected steps > warm"),
    ],
)
def test_a_mistake_is_told_where_it_is(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(SegmentationTraining, tables)


@dataclass(frozen=True)
class _Inner:
    rate: float = setting(1.0, "a rate")


@dataclass(frozen=True)
class _Outer:
    inner: _Inner = field(default_factory=_Inner)


def test_a_whole_number_does_for_a_fraction() -> None:
    made = build(_Outer, {"inner": {"rate": 2}})
    assert made.inner.rate == 2.0
    assert type(made.inner.rate) is float


def test_lines_change_settings() -> None:
    made = override(
        {"run": {"steps": 3}}, ["run.steps=5", "data.dataset=scenes", "data.flip=false"]
    )
    assert made == {"run": {"steps": 5}, "data": {"dataset": "scenes", "flip": False}}


def test_a_line_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a change such as run.steps=100, got 'run'"):
        override({}, ["run"])


def test_a_line_below_a_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a table at 'steps'"):
        override({"run": {"steps": 3}}, ["run.steps.more=1"])


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("run = [")
    with pytest.raises(ValueError, match=r"expected TOML in .*a.toml, got"):
        read_toml(path)


def test_an_unknown_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(FileNotFoundError, match=r"did you mean scenes-maskformer\?"):
        find_recipe("scenes-maskforma")


def test_a_missing_file_is_told() -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a TOML file of settings, got none at"):
        find_recipe("missing.toml")

"""sparse-ovs train, from the command line to the files."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sparse_ovs.cli.app import app
from sparse_ovs.loop import hold_folder
from sparse_ovs.training import build_task, describe_task, find_recipe, read_toml, recipe_names
from support.small_clips import register_small_clips
from support.small_training import small_settings


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_without_a_file_the_recipes_are_listed() -> None:
    result = run()
    assert result.exit_code == 0
    assert all(name in result.output.replace("\n", " ") for name in recipe_names())


@pytest.mark.parametrize("name", ["scenes-maskformer", "scenes-clip"])
def test_what_is_shown_is_a_file_of_all_settings(name: str) -> None:
    shown = tomllib.loads(run(name, "--show").output)
    assert build_task(shown) == build_task(read_toml(find_recipe(name)))


def test_a_changed_setting_is_shown() -> None:
    shown = tomllib.loads(run("scenes-fcclip", "--show", "--set", "run.steps=70").output)
    assert shown["run"]["steps"] == 70


def test_a_file_is_trained_and_what_to_do_next_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(describe_task(small_settings(run={"steps": 2})))
    result = run(file, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "segmenter.safetensors").is_file()
    assert "sparse-ovs segment PHOTO --checkpoint" in result.output.replace("\n", " ")


def test_clip_is_trained_by_the_same_command(tmp_path: Path) -> None:
    changes = [f"--set={change}" for change in ("pairs=8", "batch=4", "steps=1", "warmup=0")]
    result = run("scenes-clip", "--out", tmp_path, *changes)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "clip.safetensors").is_file()


def test_a_second_run_in_a_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sparse_ovs.cli", "train", "scenes-clip", "--out", tmp_path]
    command += ["--resume", "--set=pairs=8", "--set=batch=4", "--set=steps=1", "--set=warmup=0"]
    with hold_folder(tmp_path):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    (line,) = [line for line in refused.stderr.splitlines() if line.strip()]
    assert line.startswith(f"error: expected a folder that no other run works in, got {tmp_path}, ")
    assert f"in use by process {os.getpid()} on " in line
    assert not list(tmp_path.iterdir())


def test_a_run_needs_a_folder() -> None:
    register_small_clips()
    result = run("scenes-maskformer")
    assert "expected --out with a folder for the run" in str(result.exception)

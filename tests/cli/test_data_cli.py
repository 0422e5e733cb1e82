"""sparse-ovs data check, from the command line to the exit code."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from data.miniature import ade, folder, voc
from sparse_ovs.cli import main
from sparse_ovs.cli.app import app


def check(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "check", *(str(argument) for argument in arguments)])


def test_a_good_dataset_is_counted_and_gives_0(tmp_path: Path) -> None:
    expected = folder.narrow(tmp_path, "folder")
    result = check(tmp_path, "--dataset", "folder")
    assert result.exit_code == 0, result.output
    pixels = sum(int((values == 1).sum()) for values in expected.values())
    row = next(line for line in result.output.splitlines() if "class 1, kind 1" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][:3] == ["1", "2", str(pixels)]
    assert "unknown ids" in result.output


def test_public_sets_say_how_many_images_they_should_have(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc21")
    result = check(tmp_path, "--dataset", "voc21")
    assert result.exit_code == 0, result.output
    assert "2 (all of val: 1,449)" in result.output


def test_unknown_ids_are_listed_and_give_1(tmp_path: Path) -> None:
    folder.narrow(tmp_path, "folder")
    (tmp_path / "names.txt").write_text("only\n")
    result = check(tmp_path, "--dataset", "folder")
    assert result.exit_code == 1
    assert "unknown id 1: " in result.stderr
    assert "first in one" in result.stderr


def test_unreadable_files_are_listed_and_give_1(tmp_path: Path) -> None:
    folder.narrow(tmp_path, "folder")
    (tmp_path / "images/two.jpg").write_bytes(b"cut")
    result = check(tmp_path, "--dataset", "folder")
    assert result.exit_code == 1
    assert "unreadable two: expected a readable image" in result.stderr


def test_options_reach_the_dataset(tmp_path: Path) -> None:
    ade.raw847(tmp_path, "ade847")
    table = tmp_path / "table"
    ade.table(table, "named")
    names = tmp_path / "names"
    names.write_text("".join(f"mine {k}\n" for k in range(847)))
    result = check(tmp_path, "--dataset", "ade847", "--table", table, "--limit", 1)
    assert result.exit_code == 0, result.output
    assert "class 846" in result.output
    result = check(tmp_path, "--dataset", "ade847", "--names", names)
    assert "mine 846" in result.output


def test_scenes_need_no_folder() -> None:
    result = check("--dataset", "scenes", "--split", "val-unseen", "--limit", 2)
    assert result.exit_code == 0, result.output
    assert "procedural scenes" in result.output


def test_a_missing_dataset_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sparse-ovs", "data", "check", str(tmp_path), "--dataset", "cityscapes19"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert errors[0].startswith("error: expected cityscapes19 under ")
    assert "gtFine/val/*/*_gtFine_labelIds.png (raw)" in errors[0]


def test_fetch_brings_the_packages_and_draws_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[Path | None] = []

    def fetch(source: Path | None, say: object) -> Path:
        sources.append(source)
        return tmp_path / "packages"

    monkeypatch.setattr("sparse_ovs.cli.data.fetch_packages", fetch)
    monkeypatch.setattr("sparse_ovs.cli.data.draw_sprites", lambda say: tmp_path / "sprites.npz")
    result = CliRunner().invoke(app, ["data", "fetch", "emoji", "--from", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert sources == [tmp_path]
    assert f"pictures: {tmp_path / 'sprites.npz'}" in result.output


def test_only_emoji_can_be_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sparse-ovs", "data", "fetch", "photos"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert "expected emoji, got 'photos'" in capsys.readouterr().err

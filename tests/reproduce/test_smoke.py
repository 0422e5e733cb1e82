"""The smoke run: every cell, and the same tables however often it was killed."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sparse_ovs import create_backbone
from sparse_ovs.cli.app import app
from sparse_ovs.data.emoji.sprites import sprites_file
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.reproduce.encoders import CLIP, EncoderCell
from sparse_ovs.reproduce.experiment import load_experiment
from sparse_ovs.reproduce.needed import missing
from sparse_ovs.reproduce.report import make_tables, write_report
from sparse_ovs.reproduce.run import PARTS, cells_of, report
from sparse_ovs.reproduce.runner import run_cells
from support.made_emoji import forget, put_keywords, put_sprites

TIMES = ("ms", "times torch", "CPU ms")


needs_emoji = pytest.mark.skipif(
    not sprites_file().is_file(), reason="emoji were not fetched: sparse-ovs data fetch emoji"
)


def tables(folder: Path) -> dict[str, list[list[str]]]:
    """Rows by file, columns of times aside."""
    found = {}
    for path in sorted((folder / "report").glob("*.csv")):
        rows = list(csv.reader(path.read_text().splitlines()))
        kept = [i for i, name in enumerate(rows[0]) if not name.startswith(TIMES)]
        found[path.name] = [[row[i] for i in kept] for row in rows]
    return found


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain shapes instead of emoji."""
    put_sprites(monkeypatch)
    put_keywords(monkeypatch, "thing")


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(
    "arm",
    [
        "oneshot",
        "imp4x1",
        pytest.param("obs", marks=pytest.mark.slow),
        pytest.param("random-like", marks=pytest.mark.slow),
    ],
)
def test_every_arm_keeps_the_density_under_zeros_that_stay(tmp_path: Path, arm: str) -> None:
    experiment = load_experiment("smoke")
    cell = EncoderCell.of(arm, 0.1, 0)
    wanted = {cell.name, *cell.needs}
    cells = [one for one in cells_of(experiment) if one.name in wanted]
    store = run_cells(experiment, cells, tmp_path, 0, Console(quiet=True))
    record = store.read(cell.name)
    assert record is not None
    assert record["density"] == pytest.approx(0.1, abs=1e-3)
    clip = create_backbone(record["model"], store.folder_of(cell.name) / CLIP)
    weights = named_weights(clip, clip.scope())
    kept = sum(int((weight != 0).sum()) for weight in weights.values())
    assert kept / sum(w.numel() for w in weights.values()) == pytest.approx(0.1, abs=1e-3)
    assert set(record["names"]) == {"val"}


@pytest.mark.usefixtures("drawn")
def test_a_subnetwork_is_found_carried_over_tuned_and_reported(tmp_path: Path) -> None:
    experiment = load_experiment("smoke")
    scored = ("transfer/maskformer/imp/0", "tuning/sparse/alpha/0")
    names = ("encoders/imp/0.1/0", "tuning/sparse/first/0", *scored)
    cells = [cell for cell in cells_of(experiment) if cell.name in names]
    store = run_cells(experiment, cells, tmp_path, 0, Console(quiet=True))
    scores = [store.read(name)["scores"] for name in scored]  # type: ignore[index]
    assert all(set(found) == {"seen", "unseen"} for found in scores)
    report("smoke", experiment, tmp_path)
    found = tables(tmp_path)
    assert len(found["encoders.csv"]) == 1 + 1
    assert len(found["transfer.csv"]) == 1 + 1
    assert len(found["tuning.csv"]) == 1 + 1
    for name in ("transfer", "densities", "tuning"):
        assert (tmp_path / "report" / f"{name}.png").stat().st_size > 1000


@pytest.mark.slow
@needs_emoji
def test_the_smoke_run_writes_tables_pictures_and_a_page(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["reproduce", "smoke", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    found = tables(tmp_path)
    assert len(found["encoders.csv"]) == 1 + 7
    assert len(found["transfer.csv"]) == 1 + 3 * 7
    assert len(found["tuning.csv"]) == 1 + 2 * 13
    assert len(found["cost-saved.csv"]) == 1 + 2
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<img src=") == 4
    for name in ("transfer", "densities", "tuning", "cost"):
        for suffix in (".png", ".svg"):
            assert (tmp_path / "report" / f"{name}{suffix}").stat().st_size > 1000


def test_the_markdown_page_has_every_table_and_the_pictures_beside_it(tmp_path: Path) -> None:
    experiment = load_experiment("smoke")
    record = {"scores": {"seen": 0.1, "unseen": 0.2}, "encoder_weights": 1, "head_parameters": 1}
    records = {"transfer/fcclip/imp/0": {**record, "macs": 1.0}}
    written = write_report("smoke", experiment, records, tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert page.startswith("# The paper's tables, scale smoke\n")
    for table in make_tables(experiment, records):
        assert table.to_markdown() in page
    shown = re.findall(r"!\[[^]]+\]\((.+?)\)", page)
    assert {tmp_path / name for name in shown} == {p for p in written if p.suffix == ".png"}


@pytest.mark.slow
@needs_emoji
def test_a_run_that_was_killed_twice_gives_the_same_tables(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _start(whole).wait()
    for cells in (8, 20):
        process = _start(killed)
        while _records(killed) < cells:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(1.0)  # its workers notice
    assert _start(killed).wait() == 0
    assert tables(killed) == tables(whole)
    assert tables(whole)


def test_what_the_paper_needs_and_is_not_here_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    found = missing(load_experiment("paper"), list(PARTS))
    assert {what for line in found for what in line.split(":")[0].split(", ")} >= {
        "images for pruning coco133",
        "training data coco133",
        *(f"test data {name}" for name in ("ade150", "ade847", "voc20", "pc59", "cityscapes19")),
    }
    done = CliRunner().invoke(app, ["reproduce", "paper", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, ValueError)
    assert "missing: test data ade150" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("drawn")
def test_nothing_is_missing_for_the_smoke_run() -> None:
    assert missing(load_experiment("smoke"), list(PARTS)) == []
    assert len(cells_of(load_experiment("smoke"))) == 59


def test_emoji_that_were_not_fetched_are_told_with_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path))
    forget()
    done = CliRunner().invoke(app, ["reproduce", "smoke", "--out", str(tmp_path / "out")])
    forget()
    assert isinstance(done.exception, ValueError)
    assert "missing: images for pruning emoji, training data emoji, test data" in done.output
    assert done.output.count("@iconify-json/twemoji@1.2.5: not in the cache") == 1
    assert "sparse-ovs data fetch emoji" in done.output


def _records(folder: Path) -> int:
    return sum(len(p.read_text().splitlines()) for p in (folder / "records").glob("*.jsonl"))


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sparse_ovs.cli", "reproduce", "smoke", "--out", str(folder)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)

"""sparse-ovs demo: what it takes, what it chooses, what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from sparse_ovs.backbones import PretrainedUnavailable, create_backbone
from sparse_ovs.cli import demo
from sparse_ovs.cli.app import app
from sparse_ovs.data.sample_photos import crops, sample_photos

FILES = ("report.html", "input.png", "dense.png", "compressed.png", "encoder/report.html")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["demo", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def unavailable(*_: object) -> Any:
    raise PretrainedUnavailable("no network")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images, one compression, one dense contestant."""
    monkeypatch.setattr(demo, "_IMAGES", 4)
    monkeypatch.setitem(demo._TRIED, "shipped", [{"density": 0.1}])
    monkeypatch.setitem(demo._TRIED, "openai", [{"density": 0.5}])
    plain = demo.CompressionSettings
    monkeypatch.setattr(
        demo,
        "CompressionSettings",
        lambda **how: plain(**how, method="magnitude", baselines=("eager",)),
    )


def test_without_clips_weights_it_says_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Begun(Exception):
        pass

    def begin(*_: object, **__: object) -> None:
        raise Begun

    monkeypatch.setattr(demo, "create_backbone", unavailable)
    monkeypatch.setattr(demo, "compress_all", begin)
    result = CliRunner().invoke(app, ["demo"])
    assert isinstance(result.exception, Begun)
    assert result.stdout.startswith("CLIP's weights could not be had (no network)")


@pytest.mark.slow
def test_without_clips_weights_it_runs_on_what_is_shipped(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "create_backbone", unavailable)
    run("--out", tmp_path)
    for name in FILES:
        assert (tmp_path / name).stat().st_size > 500
    page = (tmp_path / "report.html").read_text()
    assert "weights could not be had" in page
    assert "It took" in page
    same = float(page.partition("the same class in ")[2].partition("%")[0])
    assert same > 90


@pytest.mark.slow
def test_with_clips_weights_it_compresses_that_clip_on_photos(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in = create_backbone("scenes-RN50", pretrained="scenes")  # in place of OpenAI's

    def create(name: str, tag: str) -> Any:
        assert (name, tag) == ("RN50", "openai")
        return stand_in

    monkeypatch.setattr(demo, "create_backbone", create)
    words = "red plain circle; snow; water"
    told = run("--out", tmp_path, "--vocab", words)
    assert told.splitlines()[0] == "Weights: OpenAI's CLIP RN50. To compress on: 4 images."
    assert "of the weights" in told
    assert (tmp_path / "encoder" / "encoder.plan").is_file()
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (80, 64), (40 * number, 90, 30)).save(photos / f"{number}.png")
    one = photos / "0.png"
    told = run("--out", tmp_path, "--vocab", words, "--images", photos, "--image", one)
    assert "To compress on: 3 images." in told.splitlines()[0]
    with Image.open(tmp_path / "input.png") as shown:
        assert shown.size == (80, 64)


class Made:
    """A compression of which only this is asked."""

    def __init__(self, speedup: float, cosine: float) -> None:
        self.speedup = speedup
        self.report: Any = type("Report", (), {})()
        self.report.quality = type("Quality", (), {"maps": [0.1, cosine]})()
        median = type("Ratio", (), {"median": speedup})()
        self.report.speed = type("Speed", (), {"speedup": median})()


@pytest.mark.parametrize(
    ("tried", "speedup"),
    [
        ([(2, 0.99), (3, 0.96), (4, 0.94)], 3),
        ([(2, 0.99), (3, 0.96), (4, 0.95)], 4),
        ([(2, 0.9), (3, 0.8)], 2),  # none is harmless: the nearest
    ],
)
def test_the_fastest_that_does_no_harm_is_taken(
    tried: list[tuple[float, float]], speedup: float
) -> None:
    made: list[Any] = [Made(*each) for each in tried]
    best: Any = demo.harmless(made)
    assert best.speedup == speedup


def test_crops_are_squares_of_all_photos_and_the_same_each_time() -> None:
    photos = [Image.new("RGB", (60, 40), "red"), Image.new("RGB", (30, 50), "blue")]
    made = crops(photos, 6, seed=1)
    assert [each.getpixel((0, 0)) for each in made] == [(255, 0, 0), (0, 0, 255)] * 3
    assert all(each.width == each.height for each in made)
    assert all(20 <= each.width <= 40 for each in made[::2])
    again = crops(photos, 6, seed=1)
    assert [each.size for each in made] == [each.size for each in again]


def test_the_first_sample_photo_is_the_portrait() -> None:
    assert sample_photos()[0].size == (512, 600)


def test_no_sample_photos_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparse_ovs.data.sample_photos.find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="expected photos of matplotlib, sklearn"):
        sample_photos()

"""The examples that make the shipped segmenter's files run."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch
from PIL import Image

from sparse_ovs import Segmenter
from sparse_ovs.data.emoji import CONCEPTS, GROUNDS
from sparse_ovs.segmenter.shipped import demo_scene, shipped
from support.made_emoji import put_sprites

FOLDER = Path(__file__).parents[2] / "examples" / "emoji"


def test_scenes_are_drawn_with_words_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_sprites(monkeypatch)
    runpy.run_path(str(FOLDER / "draw_scenes.py"))["main"](tmp_path)
    words = json.loads((tmp_path / "words.json").read_text())
    assert len(words) == len(list(tmp_path.glob("*.jpg"))) == 16
    known = {*GROUNDS, *(concept.name for concept in CONCEPTS)}
    assert all(set(asked.split("; ")) <= known for asked in words)
    with Image.open(tmp_path / "00.jpg") as picture:
        assert picture.size == (256, 256)


def test_a_halved_segmenter_is_smaller_and_says_the_same(tmp_path: Path) -> None:
    source = shipped("scenes-maskformer")
    assert source is not None
    made = tmp_path / "segmenter.safetensors"
    runpy.run_path(str(FOLDER / "halve.py"))["main"](source, made)
    assert made.stat().st_size < 0.7 * source.stat().st_size
    picture = demo_scene()[0]
    words = "sand; red plain circle"
    whole, half = (
        Segmenter.from_pretrained(path).predict(picture, words).scores for path in (source, made)
    )
    torch.testing.assert_close(half, whole, rtol=0, atol=0.02)

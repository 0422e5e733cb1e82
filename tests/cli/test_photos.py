"""A folder of photos as batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sparse_ovs.cli.app import app
from sparse_ovs.cli.photos import photo_batches


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, grey in enumerate((0, 128, 255)):
        pixels = np.full((30, 50, 3), grey, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


def test_photos_are_normalised_and_fill_the_last_batch(folder: Path) -> None:
    batches = photo_batches(folder, (32, 64), 2)
    assert [batch.shape for batch in batches] == [(2, 3, 32, 64)] * 2
    black, white = batches[0][0], batches[1][0]
    assert float(black[0, 0, 0]) == pytest.approx(-0.48145466 / 0.26862954)
    assert float(white[2, 9, 9]) == pytest.approx((1 - 0.40821073) / 0.27577711)
    assert batches[1][1].equal(black)
    assert all(batch.is_contiguous() for batch in batches)


def test_a_batch_of_more_photos_than_there_are_repeats_them(folder: Path) -> None:
    (batch,) = photo_batches(folder, (8, 8), 7)
    assert batch[3].equal(batch[0])
    assert batch[6].equal(batch[0])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--precision", "fp16"], "expected precision fp32, bf16, int8, got 'fp16'"),
        (["--calibrate", "."], "expected --calibrate with --precision int8 or --peers, got it al"),
        (["--precision", "int8", "--calibrate", "no"], "expected a folder of images, got no"),
        (["--precision", "int8", "--mode", "modules"], "expected mode 'plan' on the cpu with int8"),
        (["--peers", "--head", "maskclip"], "expected no --peers with --head"),
        (["--precision", "int8", "--head", "maskclip"], "expected no --precision int8 with --head"),
    ],
)
def test_a_profile_says_what_it_cannot_do_in_int8(arguments: list[str], text: str) -> None:
    shown = CliRunner().invoke(app, ["profile", "scenes-RN50", "--size", "64", *arguments])
    assert shown.exit_code != 0
    assert text in " ".join(f"{shown.output} {shown.exception}".split())

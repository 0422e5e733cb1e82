"""The examples of examples/hosts run as they are, and say where the encoder was found."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "hosts"
FOUND = {
    "use_fc_clip.py": ("backbone.clip_model.visual", 19, [1, 6, 32]),
    "use_open_clip.py": ("visual", 52, [1, 1024]),
    "use_smp.py": ("encoder.model", 52, [1, 5, 128, 128]),
    "use_timm.py": ("the model itself", 52, [1, 2048, 4, 4]),
}


def test_every_example_is_run() -> None:
    assert {path.name for path in FOLDER.glob("use_*.py")} == set(FOUND)


@pytest.mark.parametrize("name", FOUND)
def test_the_example_finds_its_host_s_encoder_and_runs(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    shown = capsys.readouterr().out
    place, layers, shape = FOUND[name]
    assert f"at {place} (" in shown
    assert re.search(rf"\b{layers} of \d+ layers run native", shown)
    assert shown.endswith(f"torch.Size({shape})\n")


@pytest.mark.parametrize("name", FOUND)
def test_the_documentation_shows_the_example(name: str) -> None:
    page = (FOLDER.parents[1] / "docs" / "hosts.md").read_text()
    code = (FOLDER / name).read_text().split('"""\n', 1)[1].strip()
    assert code in page

"""A figure is the same file however often it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from sparse_ovs.profiling.figures import save_figure


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_figure_is_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{number}{suffix}" for number in (1, 2)]
    for path in paths:
        figure = Figure()
        axis = figure.subplots()
        axis.plot([1, 2], label="a line")
        axis.legend()
        save_figure(figure, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()

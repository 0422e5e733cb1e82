"""Two builds side by side: what both run is the same, and a bit that differs is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import compare_builds
from build_runs.builds import Case, start
from build_runs.trunks import make_trunk, pixels

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("pattern", compare_builds.PATTERNS)
def test_a_trunk_has_the_same_numbers_each_time(pattern: str) -> None:
    states = [make_trunk("scenes-RN50", pattern, 0.1).state_dict() for _ in range(2)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert torch.equal(pixels((1, 3, 8, 8)), pixels((1, 3, 8, 8)))


@pytest.mark.parametrize(
    ("pattern", "density", "kept"),
    [("unstructured", 0.1, 0.1), ("block4x1", 0.5, 0.5), ("n:m", 0.1, 0.125), ("n:m", 0.5, 0.5)],
)
def test_the_default_scope_is_pruned_and_the_stem_is_not(
    pattern: str, density: float, kept: float
) -> None:
    trunk = make_trunk("scenes-RN50", pattern, density)
    weights = [trunk.get_submodule(name).weight for name in trunk.scope()]
    share = sum(int((w != 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert share == pytest.approx(kept, rel=0.1)
    assert bool((trunk.conv1.weight != 0).all())


class Answers:
    """A worker of these outputs."""

    def __init__(self, *outputs: np.ndarray) -> None:
        self._outputs = outputs

    def warm(self, passes: int) -> float:
        return 1.0

    def outputs(self, path: Path) -> None:
        np.savez(path, *self._outputs)


ONES = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ([ONES, 2 * ONES], [ONES, 2 * ONES], "equal"),
        ([ONES], [np.nextafter(ONES, np.float32(2))], "4 values differ"),
        ([ONES, ONES], [ONES], "expected 2 outputs, got 1"),
        ([ONES], [ONES[:1]], r"expected (2, 2), got (1, 2)"),
        ([0 * ONES], [0 * ONES], "expected numbers, got none"),
        ([np.inf * ONES], [np.inf * ONES], "expected numbers, got none"),
    ],
)
def test_outputs_are_compared_bit_by_bit(
    old: list[np.ndarray], new: list[np.ndarray], verdict: str, tmp_path: Path
) -> None:
    pair = [Answers(*old), Answers(*new)]
    assert compare_builds._outputs_of_both(pair, tmp_path) == (len(old), verdict)


def test_what_is_no_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder with sparse_ovs or a Python, got"):
        start(tmp_path, 1, tmp_path / "log")


@pytest.mark.slow
def test_a_build_answers_in_a_process_of_its_own(tmp_path: Path) -> None:
    case = Case("scenes-RN50", "block4x1", 0.1, (1, 3, 32, 32), 1)
    with start(Path(sys.executable), 1, tmp_path / "log") as worker:
        assert worker.load(case.job()).keys() == {"place", "version", "torch", "kernels"}
        worker.warm(1)
        worker.outputs(tmp_path / "outputs.npz")
    assert len(np.load(tmp_path / "outputs.npz").files) == 4


@pytest.mark.slow
def test_a_build_agrees_with_itself() -> None:
    command = [sys.executable, ROOT / "benchmarks/compare_builds.py", *[sys.executable] * 2]
    done = subprocess.run(
        [*command, "--bits", "--models", "scenes-RN50"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" equal ") == 24

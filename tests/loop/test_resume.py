"""A run that is killed, wherever that is, ends with the bits of one that was not."""

import signal
from pathlib import Path

import pytest

from support import small_runs
from support.small_runs import STEPS


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    _finish(folder)
    return folder


@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
    uninterrupted: Path, tmp_path: Path, kills: int
) -> None:
    small_runs.kill_at_moments(small_runs.train, tmp_path, STEPS, kills)
    _finish(tmp_path)
    _assert_same(tmp_path, uninterrupted)


@pytest.mark.parametrize(
    "place", ["half written", "before the rename", "after the rename", "within a row"]
)
def test_a_run_killed_within_a_write_ends_with_the_same_bits(
    uninterrupted: Path, tmp_path: Path, place: str
) -> None:
    child = small_runs.process(small_runs.train_and_die, tmp_path, place)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    _finish(tmp_path)
    _assert_same(tmp_path, uninterrupted)


def test_a_damaged_newest_checkpoint_costs_steps_but_no_bits(
    uninterrupted: Path, tmp_path: Path
) -> None:
    child = small_runs.process(small_runs.train_and_die, tmp_path, "within a row")
    child.join()
    newest = max((tmp_path / "checkpoints").glob("step-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    _finish(tmp_path)
    assert newest.with_name(f"{newest.name}.damaged").exists()
    _assert_same(tmp_path, uninterrupted)


def test_a_second_run_beside_the_first_is_refused_and_costs_it_no_bits(
    uninterrupted: Path, tmp_path: Path
) -> None:
    reader, writer = small_runs.pipe()
    first = small_runs.process(small_runs.train, tmp_path, writer)
    while reader.recv() < STEPS - 4:  # where it waits
        pass
    second = small_runs.process(small_runs.train, tmp_path)
    second.join()
    assert second.exitcode == 1
    first.kill()
    first.join()
    _finish(tmp_path)
    _assert_same(tmp_path, uninterrupted)


def _finish(folder: Path) -> None:
    child = small_runs.process(small_runs.train, folder)
    child.join()
    assert child.exitcode == 0


def _assert_same(folder: Path, expected: Path) -> None:
    """Same log and same checkpoints: model, optimiser, EMA, masks, random states."""
    assert (folder / "log.csv").read_bytes() == (expected / "log.csv").read_bytes()
    assert (expected / "log.csv").read_text().count("\n") == 1 + STEPS
    names = sorted(path.name for path in (expected / "checkpoints").iterdir())
    assert names == [f"step-{step:08d}.safetensors" for step in (STEPS - 3, STEPS)]
    for name in names:
        ours = (folder / "checkpoints" / name).read_bytes()
        assert ours == (expected / "checkpoints" / name).read_bytes()

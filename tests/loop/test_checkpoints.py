"""Checkpoints: the newest whole one of the same configuration, or a clear word why not."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sparse_ovs.formats import FileFormatError, write_file
from sparse_ovs.loop import Checkpoints

_CONFIG = {"seed": 1, "loop": {"clip": None, "sizes": [1, 2]}}


def _state(step: int) -> dict[str, Any]:
    return {"weight": torch.full((200,), float(step)), "round": step}


def _filled(folder: Path, *steps: int, keep: int = 9) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(step, _state(step), _CONFIG)
    return checkpoints


def test_the_newest_is_loaded(tmp_path: Path) -> None:
    _filled(tmp_path / "made", 5, 20)
    found = Checkpoints(tmp_path / "made", 1).load(_CONFIG)
    assert found is not None
    step, state = found
    assert step == 20
    assert torch.equal(state["weight"], _state(20)["weight"])
    assert state["round"] == 20


def test_there_is_none_in_a_new_folder(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "missing", 1).load(_CONFIG) is None
    assert not (tmp_path / "missing").exists()


def test_only_the_newest_few_are_kept(tmp_path: Path) -> None:
    checkpoints = _filled(tmp_path, 1, 2, 3, 123456789, keep=2)
    assert checkpoints.steps() == [3, 123456789]
    names = ["step-00000003.safetensors", "step-123456789.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_what_a_killed_process_left_is_swept_away_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / ".step-00000007.safetensors.abcd").touch()
    (tmp_path / "notes.txt").touch()
    _filled(tmp_path, 8, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "notes.txt",
        "step-00000008.safetensors",
    ]


def test_a_flipped_byte_anywhere_falls_back_to_the_checkpoint_before(tmp_path: Path) -> None:
    content = _filled(tmp_path, 1, 2).path(2).read_bytes()
    for place in range(0, len(content), 13):
        folder = tmp_path / str(place)
        checkpoints = _filled(folder, 1)
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        checkpoints.path(2).write_bytes(flipped)
        with pytest.warns(UserWarning, match="falling back"):
            found = checkpoints.load(_CONFIG)
        assert found is not None
        assert found[0] == 1


@pytest.mark.parametrize("length", [0, 5, 700])
def test_a_truncated_file_falls_back_and_does_not_count_among_those_to_keep(
    tmp_path: Path, length: int
) -> None:
    checkpoints = _filled(tmp_path, 1, 2, 9, keep=2)
    whole = checkpoints.path(9).read_bytes()
    checkpoints.path(9).write_bytes(whole[:length])
    with pytest.warns(UserWarning, match=r"step-00000009.*falling back to the checkpoint before"):
        found = checkpoints.load(_CONFIG)
    assert found is not None
    assert found[0] == 2
    checkpoints.save(3, _state(3), _CONFIG)
    assert checkpoints.steps() == [2, 3]
    assert (tmp_path / "step-00000009.safetensors.damaged").read_bytes() == whole[:length]


def test_a_file_of_another_kind_counts_as_damaged(tmp_path: Path) -> None:
    checkpoints = _filled(tmp_path, 1)
    write_file(checkpoints.path(2), {"weight": torch.zeros(1)}, {"kind": "plan"})
    with pytest.warns(UserWarning, match="expected a whole checkpoint, got a damaged one"):
        found = checkpoints.load(_CONFIG)
    assert found is not None
    assert found[0] == 1


def test_damaged_ones_only_are_an_error_each_time_and_stay_where_they_are(tmp_path: Path) -> None:
    checkpoints = _filled(tmp_path, 1, 2)
    for step in (1, 2):
        checkpoints.path(step).write_bytes(b"")
    for _ in range(2):
        with (
            pytest.warns(UserWarning, match="falling back"),
            pytest.raises(FileFormatError, match="got damaged ones only"),
        ):
            checkpoints.load(_CONFIG)
    assert checkpoints.steps() == [1, 2]


@pytest.mark.parametrize(
    ("config", "difference"),
    [
        ({**_CONFIG, "seed": 2}, "seed: 1, not 2"),
        ({"loop": _CONFIG["loop"]}, "seed: 1, not absent"),
        ({**_CONFIG, "new": "x"}, "new: absent, not 'x'"),
        ({**_CONFIG, "loop": {"clip": 0.1, "sizes": [1, 2]}}, r"loop\.clip: None, not 0.1"),
        ({**_CONFIG, "loop": {"clip": None, "sizes": [1, 3]}}, r"loop\.sizes\[1\]: 2, not 3"),
        ({**_CONFIG, "loop": {"clip": None, "sizes": []}}, r"loop\.sizes: \[1, 2\], not \[\]"),
        ({"seed": 3, "loop": 4}, r"seed: 1, not 3; loop: \{.*\}, not 4"),
    ],
)
def test_another_configuration_is_refused_with_all_that_differs(
    tmp_path: Path, config: dict[str, Any], difference: str
) -> None:
    with pytest.raises(ValueError, match=f"expected the configuration of .*: {difference}$"):
        _filled(tmp_path, 1).load(config)


def test_state_that_cannot_be_saved_leaves_what_there_was(tmp_path: Path) -> None:
    checkpoints = _filled(tmp_path, 1, keep=1)
    with pytest.raises(TypeError, match="got set at /a"):
        checkpoints.save(2, {"a": set()}, _CONFIG)
    assert checkpoints.steps() == [1]


def test_none_to_keep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 1 or more checkpoints to keep, got 0"):
        Checkpoints(tmp_path, 0)

"""Mask files: ours with counts that are checked, others' read without running their code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from sparse_ovs.formats import (
    FileFormatError,
    format_version,
    read_file,
    read_masks,
    write_file,
    write_masks,
)

MASK = torch.tensor([[True, False, True], [False, False, True]])
KEY = "layer1.0.conv1.weight_mask"


def test_masks_and_header_come_back_with_counts(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    both = torch.stack([MASK, ~MASK])  # two masks in one memory
    write_masks(path, {"a.b": both[0], "c": both[1].T}, {"seed": 3})
    content = read_masks(path)
    masks, header = content.masks, content.header
    assert list(masks) == ["a.b", "c"]
    assert torch.equal(masks["a.b"], MASK)
    assert torch.equal(masks["c"], ~MASK.T)
    assert header == {
        "format_version": format_version("masks"),
        "kind": "masks",
        "seed": 3,
        "density": 0.5,
        "layers": {"a.b": {"kept": 3, "density": 0.5}, "c": {"kept": 3, "density": 0.5}},
    }


def test_any_safetensors_reader_finds_bool_masks_by_layer(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    write_masks(path, {"layer1.0.conv1": MASK}, {})
    tensors = safetensors.torch.load_file(path)
    assert list(tensors) == [KEY]
    assert tensors[KEY].dtype == torch.bool


@pytest.mark.parametrize("level", ["backbone", "state_dict", "model", None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8, torch.bool])
def test_torch_files_hold_masks_beside_weights(
    tmp_path: Path, level: str | None, dtype: torch.dtype
) -> None:
    path = tmp_path / "masks.pth"
    content = {KEY: MASK.to(dtype), "layer1.0.conv1.weight_orig": torch.randn(2, 3), "epoch": 7}
    torch.save(content if level is None else {level: content, "epoch": 7}, path)
    content = read_masks(path)
    masks, header = content.masks, content.header
    assert header is None
    assert list(masks) == ["layer1.0.conv1"]
    assert masks["layer1.0.conv1"].dtype == torch.bool
    assert torch.equal(masks["layer1.0.conv1"], MASK)


def test_safetensors_of_others_and_other_spellings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    tensors = {
        "a.mask": MASK,
        "b.attn.in_proj_weight_mask": MASK.to(torch.uint8),
        "c": MASK.float(),
    }
    safetensors.torch.save_file(tensors, path)
    content = read_masks(path)
    masks, header = content.masks, content.header
    assert header is None
    assert sorted(masks) == ["a", "b.attn.in_proj"]


OPEN_TRANS = {
    "conv1.weight_mask": MASK.float(),
    "conv3.weight_mask": ~MASK,
    "layer1.0.conv1.weight_mask": MASK.float(),
    "layer4.0.downsample.0.weight_mask": ~MASK,
    "layer1.0.conv1.weight_orig": torch.zeros(2, 3),
}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_stem_of_a_file_in_opentrans_s_form_is_left_out(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "masks.pth"
    torch.save({"backbone": {f"{prefix}{key}": mask for key, mask in OPEN_TRANS.items()}}, path)
    content = read_masks(path)
    assert list(content.masks) == ["layer1.0.conv1", "layer4.0.downsample.0"]
    assert content.left_out == ("conv1", "conv3")


def test_the_stem_of_any_other_file_is_taken(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.pth"
    write_masks(ours, {"conv1": MASK, "layer1.0.conv1": MASK}, {})
    content = read_masks(ours)
    assert (list(content.masks), content.left_out) == (["conv1", "layer1.0.conv1"], ())
    for names in (("visual.conv1", "visual.layer1.0.conv1"), ("conv1", "conv2")):
        torch.save({f"{name}.weight_mask": MASK for name in names}, theirs)
        content = read_masks(theirs)
        assert (tuple(content.masks), content.left_out) == (names, ())


def test_names_in_files_of_others_lose_dataparallel_s_prefix(tmp_path: Path) -> None:
    torch.save({"module.blocks.0.fc.weight_mask": MASK}, tmp_path / "masks.pth")
    safetensors.torch.save_file({"module.a.mask": MASK}, tmp_path / "masks.safetensors")
    assert list(read_masks(tmp_path / "masks.pth").masks) == ["blocks.0.fc"]
    assert list(read_masks(tmp_path / "masks.safetensors").masks) == ["a"]
    torch.save({KEY: MASK, f"module.{KEY}": MASK}, tmp_path / "masks.pth")
    with pytest.raises(FileFormatError, match=f"expected one tensor named {KEY}, got another"):
        read_masks(tmp_path / "masks.pth")


def test_numbers_of_numpy_beside_the_masks_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "masks.pth"
    torch.save({"model": {KEY: MASK}, "best": np.float64(0.5)}, path)
    assert torch.equal(read_masks(path).masks["layer1.0.conv1"], MASK)


def test_code_inside_a_torch_file_is_not_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "harm",))

    path = tmp_path / "masks.pth"
    torch.save({KEY: MASK.float(), "x": Harm()}, path)
    with pytest.raises(FileFormatError, match="expected a file of masks, got a damaged or foreign"):
        read_masks(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.zeros(1)}, "expected masks named '<layer>.weight_mask', got none"),
        ([torch.zeros(1)], "expected a dict of masks in .*, got list"),
        ({KEY: torch.tensor([0.5])}, f"expected a mask of 0 and 1 for {KEY}, got other values"),
        ({KEY: torch.tensor([torch.nan])}, "expected a mask of 0 and 1 for"),
    ],
)
def test_a_torch_file_without_masks_is_refused(
    tmp_path: Path, content: object, message: str
) -> None:
    path = tmp_path / "masks.pth"
    torch.save(content, path)
    with pytest.raises(FileFormatError, match=message):
        read_masks(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a file of masks, got none at .*nowhere"):
        read_masks(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["masks.safetensors", "masks.pth"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_masks(path, {"a": MASK}, {})
    content = path.read_bytes()
    for length in (0, 7, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match="expected a file of masks, got a damaged or"):
            read_masks(path)


def test_a_flipped_bit_in_a_mask_shows(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    write_masks(path, {"a": MASK, "b": MASK}, {})
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        FileFormatError, match=r"expected as many kept weights .* got others in .*b"
    ):
        read_masks(path)


def test_a_header_without_counts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    write_file(path, {KEY: MASK}, {"kind": "masks"})
    with pytest.raises(FileFormatError, match="expected the counts of each layer in the header"):
        read_masks(path)


def test_a_newer_file_asks_for_an_update(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    text = json.dumps({"format_version": format_version("masks") + 1, "kind": "masks"})
    safetensors.torch.save_file({KEY: MASK}, path, {"sparse_ovs": text})
    with pytest.raises(
        FileFormatError, match=r"expected format version 1 or older, got 2 .* update"
    ):
        read_masks(path)


def test_a_saved_model_is_no_file_of_masks_and_masks_are_no_model(tmp_path: Path) -> None:
    import sparse_ovs

    path = tmp_path / "file.safetensors"
    model = nn.Sequential(nn.Linear(4, 4))
    sparse_ovs.save(model, path)
    with pytest.raises(FileFormatError, match="expected a file of masks, got a saved model: "):
        read_masks(path)
    write_masks(path, {"0": torch.ones(4, 4, dtype=torch.bool)}, {})
    with pytest.raises(FileFormatError, match="expected a saved model, got masks, which "):
        sparse_ovs.load(path, model)


def test_a_write_that_fails_leaves_the_old_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "masks.safetensors"
    write_masks(path, {"a": MASK}, {})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_masks(path, {"a": ~MASK}, {})
    monkeypatch.undo()
    assert torch.equal(read_masks(path).masks["a"], MASK)
    assert read_file(path)[1]["layers"]["a"]["kept"] == 3

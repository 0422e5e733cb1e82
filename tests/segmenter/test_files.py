"""Segmenters in files and on the hub: whole, of the right head, or a clear error."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

import sparse_ovs
from sparse_ovs.backbones import PretrainedUnavailable
from sparse_ovs.formats import FileFormatError
from sparse_ovs.predictor import hub
from sparse_ovs.segmenter import RandomWeightsWarning, Segmenter, files
from support.small_clips import RN, VIT, small_backbone

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
WORDS = "cat, kitten; dog"


def make(name: str = RN, **options: Any) -> Segmenter:
    backbone = small_backbone(name, density=0.3)
    backbone.clip.random_parts = ()
    if name == VIT:
        backbone.select((2,))
    return sparse_ovs.create_segmenter("maskclip", backbone, **{"size": 64, **options})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    make().save_pretrained(tmp_path / "new" / "folder")
    return tmp_path / "new" / "folder"


@pytest.mark.parametrize("name", [RN, VIT])
def test_a_segmenter_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    made = make(name, background="wall", templates=["a {}"], window=None, longest=500)
    made.save_pretrained(tmp_path)
    back = Segmenter.from_pretrained(tmp_path)
    assert back.options == made.options
    assert not back.training
    expected = made.predict(PHOTO, WORDS)
    result = back.predict(PHOTO, WORDS)
    assert torch.equal(result.sem_seg, expected.sem_seg)
    torch.testing.assert_close(result.scores, expected.scores)
    ours, theirs = back.backbone.report, made.backbone.report
    assert ours is None  # nothing was pruned; the file's zeros are sparse all the same
    assert theirs is not None
    layer = "layer1.0.conv2" if name == RN else "transformer.resblocks.0.mlp.c_fc"
    assert torch.equal(
        back.backbone.get_submodule(layer).mask, made.backbone.get_submodule(layer).mask
    )


def test_the_file_or_its_folder_names_a_segmenter(saved: Path) -> None:
    for source in (saved, str(saved), saved / files.FILE_NAME):
        assert Segmenter.from_pretrained(source).head.name == "maskclip"
        assert sparse_ovs.create_segmenter("maskclip", checkpoint=source).options.size == 64


def test_options_may_differ_from_the_files(saved: Path) -> None:
    made = sparse_ovs.create_segmenter("maskclip", checkpoint=saved, background=0.5)
    assert made.options.background == 0.5
    assert made.options.size == 64


def test_the_config_is_inside_the_file(saved: Path) -> None:
    with safetensors.safe_open(saved / files.FILE_NAME, "pt") as file:
        header = json.loads(file.metadata()["sparse_ovs"])
        names = set(file.keys())
    assert header["head"] == "maskclip"
    assert header["model"]["name"] == RN
    assert header["options"]["size"] == 64
    assert "backbone.layer1.0.conv2.weight.values" in names  # packed
    assert "backbone.layer1.0.conv2.weight" not in names
    assert not any(name.startswith("clip.visual.layer") for name in names)  # once


def test_random_parts_are_told_again(tmp_path: Path) -> None:
    backbone = small_backbone()
    backbone.clip.random_parts = ("text tower",)
    with pytest.warns(RandomWeightsWarning):
        sparse_ovs.create_segmenter("maskclip", backbone).save_pretrained(tmp_path)
    with pytest.warns(RandomWeightsWarning, match=r"random weights \(text tower\)"):
        Segmenter.from_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RandomWeightsWarning)
        make().save_pretrained(tmp_path)
        Segmenter.from_pretrained(tmp_path)


def rewrite(path: Path, tensors: dict[str, Any] | None = None, **changes: Any) -> None:
    """Changes a file's header, and its tensors."""
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["sparse_ovs"]) | changes
    own = safetensors.torch.load_file(path) | (tensors or {})
    kept = {name: value for name, value in own.items() if value is not None}
    safetensors.torch.save_file(kept, path, {"sparse_ovs": json.dumps(header)})


def test_a_checkpoint_of_another_head_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(saved / files.FILE_NAME, head="maskclop")
    with pytest.raises(FileFormatError, match="a checkpoint of head 'maskclip', got 'maskclop'"):
        sparse_ovs.create_segmenter("maskclip", checkpoint=saved)
    with pytest.raises(ValueError, match=r"expected a head of maskclip.*, got 'maskclop'"):
        Segmenter.from_pretrained(saved)


def test_a_checkpoint_of_another_backbone_is_refused(saved: Path) -> None:
    with pytest.raises(FileFormatError, match="checkpoint of backbone 'RN50', got 'small-rn'"):
        sparse_ovs.create_segmenter("maskclip", "RN50", checkpoint=saved)


@pytest.mark.parametrize(
    ("tensors", "changes", "message"),
    [
        ({"head.scale": None}, {}, "got one that differs in scale"),
        ({"head.values.bias": torch.zeros(3)}, {}, "got one that differs in values.bias"),
        ({"clip.text_projection": None}, {}, "got one that differs in text_projection"),
        ({"backbone.conv1.weight": None}, {}, "got one that misses conv1.weight"),
        ({}, {"options": None}, "expected a whole segmenter, got a damaged one"),
        ({}, {"model": {}}, "expected a whole segmenter, got a damaged one"),
        ({}, {"layers": 3}, "expected whole packed layers, got damaged ones"),
        ({}, {"kind": "masks"}, "expected a segmenter's file, got another file of sparse_ovs"),
        ({}, {"format_version": 99}, "expected format version 1 or older, got 99"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(
    saved: Path, tensors: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    rewrite(saved / files.FILE_NAME, tensors, **changes)
    with pytest.raises(FileFormatError, match=message):
        Segmenter.from_pretrained(saved)


def test_files_of_others_and_cut_files_are_refused(saved: Path) -> None:
    path = saved / files.FILE_NAME
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileFormatError, match="expected a whole safetensors file"):
        Segmenter.from_pretrained(path)


def test_an_encoders_file_is_no_segmenter_and_the_other_way_round(
    saved: Path, tmp_path: Path
) -> None:
    sparse_ovs.save(small_backbone(), tmp_path / "encoder.safetensors")
    with pytest.raises(FileFormatError, match="expected a segmenter's file, got another file"):
        Segmenter.from_pretrained(tmp_path / "encoder.safetensors")
    with pytest.raises(FileFormatError, match=r"got a segmenter, which Segmenter.from_pretrained"):
        sparse_ovs.load(saved / files.FILE_NAME)


@pytest.mark.parametrize("source", ["no/such/folder", "./nothing", "no.safetensors", "nothing"])
def test_a_path_that_is_nothing_is_told(source: str) -> None:
    with pytest.raises(FileNotFoundError, match="expected a segmenter's file, a folder with segm"):
        Segmenter.from_pretrained(source)


def test_a_failed_write_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (saved / files.FILE_NAME).read_bytes()

    def fail(*args: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        make().save_pretrained(saved)
    assert (saved / files.FILE_NAME).read_bytes() == before
    assert [path.name for path in saved.iterdir()] == [files.FILE_NAME]


class TestTheHub:
    """Without a network, and with a pretended one."""

    @pytest.fixture
    def offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: Any, **options: Any) -> None:
            raise OSError("Network is unreachable")

        monkeypatch.setattr("socket.create_connection", refuse)

    @pytest.mark.usefixtures("offline")
    def test_without_a_network_a_repository_is_unavailable(self) -> None:
        with pytest.raises(
            PretrainedUnavailable,
            match=r"segmenter 'user/name' is no path here, .*: no connection to .*unreachable",
        ):
            Segmenter.from_pretrained("user/name")

    @pytest.mark.usefixtures("offline")
    def test_without_a_network_an_upload_fails_clearly(self) -> None:
        with pytest.raises(
            ConnectionError, match="could not be uploaded to 'user/name': no connection to"
        ):
            make().push_to_hub("user/name")

    @pytest.fixture
    def the_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder that takes and gives files as the hub does."""
        folder = tmp_path / "hub"

        class Api:
            def __init__(self, token: str | None) -> None:
                assert token == "secret"

            def create_repo(self, repository: str, private: bool, exist_ok: bool) -> None:
                assert private
                assert exist_ok
                (folder / repository).mkdir(parents=True)

            def upload_file(self, path_or_fileobj: Path, path_in_repo: str, **about: str) -> str:
                (folder / about["repo_id"] / path_in_repo).write_bytes(path_or_fileobj.read_bytes())
                return "https://hub/commit/1"

        def download(repository: str, name: str, revision: str | None) -> str:
            return str(folder / repository / name)

        monkeypatch.setattr(hub, "check_connection", lambda: None)
        monkeypatch.setattr(huggingface_hub, "HfApi", Api)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        return folder

    def test_what_was_pushed_comes_back(self, the_hub: Path) -> None:
        made = make()
        address = made.push_to_hub("user/name", private=True, token="secret")
        assert address == "https://hub/commit/1"
        back = Segmenter.from_pretrained("user/name")
        expected = made.predict(PHOTO, WORDS).scores
        torch.testing.assert_close(back.predict(PHOTO, WORDS).scores, expected)

    def test_what_the_hub_refuses_is_told(self, the_hub: Path) -> None:
        with pytest.raises(ConnectionError, match="could not be uploaded to 'user/name'"):
            make().push_to_hub("user/name", private=True, token="wrong")

"""Pretrained weights: tags, open_clip's files, OpenAI's archives."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone, PretrainedUnavailable, weights


@pytest.fixture(scope="module")
def whole_model() -> nn.Module:
    logging.disable(logging.WARNING)
    model = open_clip.create_model("RN50", load_weights=False)
    logging.disable(logging.NOTSET)
    return model


def _same_trunk(backbone: Backbone, model: nn.Module) -> bool:
    state = model.visual.state_dict()
    return all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("form", ["whole", "module.", "visual.", "trunk without prefix"])
def test_open_clip_state_dicts_load_in_all_the_forms_people_have(
    whole_model: nn.Module, tmp_path: Path, form: str
) -> None:
    state = whole_model.state_dict()
    if form == "module.":
        content: object = {"state_dict": {f"module.{key}": v for key, v in state.items()}}
    elif form == "visual.":
        content = {key: v for key, v in state.items() if key.startswith("visual.")}
    elif form == "trunk without prefix":
        prefix = "visual."
        content = {
            key.removeprefix(prefix): v
            for key, v in state.items()
            if key.startswith(prefix) and "attnpool" not in key
        }
    else:
        content = state
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    assert _same_trunk(create_backbone("RN50", path), whole_model)


def test_a_safetensors_file_of_open_clip_loads(whole_model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "open_clip_model.safetensors"
    safetensors.torch.save_file(whole_model.state_dict(), path)
    assert _same_trunk(create_backbone("RN50", path), whole_model)


def test_a_safetensors_file_under_dataparallel_s_names_loads(
    whole_model: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    state = {f"module.{key}": value for key, value in whole_model.state_dict().items()}
    safetensors.torch.save_file(state, path)
    assert _same_trunk(create_backbone("RN50", path), whole_model)


def test_numbers_of_numpy_beside_a_state_dict_do_no_harm(
    whole_model: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": whole_model.state_dict(), "best": np.float64(0.5)}, path)
    assert _same_trunk(create_backbone("RN50", path), whole_model)


def test_an_openai_archive_loads_and_makes_the_text_tower_quick(
    whole_model: nn.Module, tmp_path: Path
) -> None:
    class Archive(nn.Module):
        """Like OpenAI's files: fp16 weights under their names, sizes as buffers."""

        def __init__(self) -> None:
            super().__init__()
            for name, value in whole_model.state_dict().items():
                owner: nn.Module = self
                *path, leaf = name.split(".")
                for part in path:
                    # A module may not be called as a number in an attribute of a script.
                    if part not in owner._modules:
                        owner.add_module(part, nn.Module())
                    owner = owner._modules[part]  # type: ignore[assignment]
                half = value.half() if value.is_floating_point() else value
                owner.register_buffer(leaf, half)
            self.register_buffer("input_resolution", torch.tensor(224))
            self.register_buffer("context_length", torch.tensor(77))
            self.register_buffer("vocab_size", torch.tensor(49408))

        def forward(self, x: Tensor) -> Tensor:
            return x

    path = tmp_path / "RN50.pt"
    torch.jit.save(torch.jit.trace(Archive(), torch.zeros(1)), str(path))
    backbone = create_backbone("RN50", path)
    assert backbone.clip.name == "RN50-quickgelu"
    expected = whole_model.visual.layer1[0].conv1.weight.half().float()
    assert torch.equal(backbone.layer1[0].conv1.weight, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("visual.conv1.weight"), r"without visual\.conv1\.weight"),
        (lambda s: s.update({"visual.extra": torch.zeros(1)}), r"with unknown visual\.extra"),
        (
            lambda s: s.update({"visual.conv1.weight": torch.zeros(1)}),
            r"with other shapes of visual\.conv1\.weight",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    whole_model: nn.Module, tmp_path: Path, change: object, message: str
) -> None:
    state = dict(whole_model.state_dict())
    change(state)  # type: ignore[operator]
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    with pytest.raises(ValueError, match=f"expected weights that fit the model, got .* {message}"):
        create_backbone("RN50", path)


def test_a_damaged_file_of_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(
        ValueError, match="expected a file of weights, got a damaged or foreign one"
    ):
        create_backbone("RN50", path)


def test_weights_that_cannot_be_downloaded_say_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(weights, "_is_cached", lambda name, tag: False)
    monkeypatch.setattr(weights.socket, "create_connection", refuse)
    message = r"weights 'openai' for RN50-quickgelu could not be had: no connection to .*no route"
    with pytest.raises(PretrainedUnavailable, match=message):
        create_backbone("RN50", "openai")


def test_openai_weights_build_the_quick_model(
    monkeypatch: pytest.MonkeyPatch, whole_model: nn.Module
) -> None:
    asked: list[tuple[str, str | None]] = []

    def create(name: str, tag: str | None) -> nn.Module:
        asked.append((name, tag))
        return whole_model

    monkeypatch.setattr(weights, "_is_cached", lambda name, tag: True)
    monkeypatch.setattr(weights, "_create", create)
    assert create_backbone("RN50", "openai").clip.name == "RN50-quickgelu"
    assert asked == [("RN50-quickgelu", "openai")]

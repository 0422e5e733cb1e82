"""Saves and loads sparse models: packed weights in one small file that rebuilds the model."""

from __future__ import annotations

import os

from torch import nn

from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.formats import write_file
from sparse_ovs.nn import packed_state
from sparse_ovs.version import __version__


def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes the model's state_dict with its sparse weights packed; atomic.

    A backbone of `create_backbone` is rebuilt by `load(path)` alone; any other model by `load(path,
    model)`.

    Raises:
        TypeError: sparse weights that are not float32.
    """
    tensors, layers = packed_state.pack_state(model)
    config = model.config if isinstance(model, Backbone) else None
    write_file(path, tensors, {"library": __version__, "model": config, "layers": layers})


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """Rebuilds a saved backbone, or fills the given model, dense or sparse, in place.

    Raises:
        FileNotFoundError: no such file.
        FileFormatError: a damaged, foreign or newer file, or one that does not fit the model; the
            model is unchanged.
        ValueError: no model is given and the file does not say how to build one.
    """
    content = packed_state.read(path)
    if model is None:
        if content.model is None:
            raise ValueError(f"expected a model to fill, got None, and {path} holds no backbone")
        model = create_backbone(**content.model)
    packed_state.fill(model, content)
    return model

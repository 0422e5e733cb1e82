"""A selection: which layers are frozen, why, and their share of the encoder; a JSON file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparse_ovs.formats import FileFormatError, replace_file
from sparse_ovs.spectral.table import SpectralTable

FORMAT_VERSION = 1
_KIND = "selection"


@dataclass(frozen=True)
class SelectedLayer:
    """One layer; see `SpectralRow` for what the numbers are.

    Attributes:
        frozen: its weight is not trained; see `freeze` for biases and BatchNorm.
    """

    name: str
    shape: tuple[int, ...]
    alpha: float
    fit_distance: float
    frozen: bool
    weight_share: float
    mac_share: float | None


@dataclass(frozen=True)
class Selection:
    """Layers in module order, and where the choice comes from.

    Attributes:
        method: in words, such as "below the median of alpha (mid)".
        seed: of a random choice; else None.
        source: the encoder and its weights, and the image size that MAC shares are for.
    """

    layers: tuple[SelectedLayer, ...]
    method: str
    seed: int | None
    source: str

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected every layer once, got {', '.join(twice)} again")

    @property
    def frozen(self) -> list[str]:
        """Names of the frozen layers."""
        return [layer.name for layer in self.layers if layer.frozen]

    @property
    def frozen_weights(self) -> float:
        """Share of weights that is frozen."""
        return sum(layer.weight_share for layer in self.layers if layer.frozen)

    @property
    def frozen_macs(self) -> float | None:
        """Share of MACs that frozen layers have; None where a layer's is not known."""
        shares = [layer.mac_share for layer in self.layers if layer.frozen]
        return None if None in shares else sum(share for share in shares if share is not None)


def make_selection(
    table: SpectralTable, frozen: Iterable[str], method: str, source: str, seed: int | None = None
) -> Selection:
    """A selection of the table's layers.

    Raises:
        ValueError: names that the table lacks, all together.
    """
    chosen = set(frozen)
    if unknown := sorted(chosen - {row.name for row in table.rows}):
        raise ValueError(f"expected layers of the table, got {', '.join(unknown)}")
    layers = tuple(
        SelectedLayer(
            row.name,
            row.shape,
            row.alpha,
            row.fit_distance,
            row.name in chosen,
            row.weight_share,
            row.mac_share,
        )
        for row in table.rows
    )
    return Selection(layers, method, seed, source)


def save_selection(path: str | os.PathLike[str], selection: Selection) -> None:
    """Writes the selection as JSON; atomic."""
    content = {"format_version": FORMAT_VERSION, "kind": _KIND, **asdict(selection)}
    replace_file(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def load_selection(path: str | os.PathLike[str]) -> Selection:
    """Reads a file of `save_selection`.

    Raises:
        FileNotFoundError: no such file.
        FileFormatError: a foreign, damaged or newer file; all that is wrong with it together.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a selection, got no file at {path}")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise FileFormatError(f"expected a selection in JSON, got {path}: {error}") from error
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise FileFormatError(f"expected a selection, got another file: {path}")
    version = content.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise FileFormatError(
            f"expected format version {FORMAT_VERSION} or older, got {version} in {path}: "
            "update sparse_ovs to read it"
        )
    if problems := _problems(content):
        raise FileFormatError(f"expected a sound selection in {path}, got {'; '.join(problems)}")
    layers = tuple(
        SelectedLayer(**{**layer, "shape": tuple(layer["shape"])}) for layer in content["layers"]
    )
    return Selection(layers, content["method"], content["seed"], content["source"])


def check_selection(selection: Selection, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Whether a selection is of these layers.

    Args:
        shapes: of the weights, by canonical name (see `spectral_layers`).

    Raises:
        ValueError: layers that are missing, unknown, or of another shape, all together.
    """
    own = {layer.name: layer.shape for layer in selection.layers}
    problems = [f"{name} (not in the model)" for name in own if name not in shapes]
    problems += [f"{name} (not in the selection)" for name in shapes if name not in own]
    problems += [
        f"{name} ({own[name]} for {tuple(shapes[name])})"
        for name in own
        if name in shapes and own[name] != tuple(shapes[name])
    ]
    if problems:
        raise ValueError(
            f"expected a selection of the model's layers, got {len(problems)} that differ: "
            + ", ".join(problems)
        )


def _problems(content: Mapping[str, Any]) -> list[str]:
    found = []
    if type(content.get("format_version")) is not int or content["format_version"] < 1:
        found.append(f"format_version {content.get('format_version')!r}")
    for key in ("method", "source"):
        if not isinstance(content.get(key), str):
            found.append(f"{key} {content.get(key)!r}")
    if "seed" not in content or type(content["seed"]) not in (int, type(None)):
        found.append(f"seed {content.get('seed')!r}")
    layers = content.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        return [*found, "no list of layers"]
    names: set[str] = set()
    for index, layer in enumerate(layers):
        name = layer.get("name")
        label = name if isinstance(name, str) else f"layer {index}"
        if not isinstance(name, str):
            found.append(f"{label}: name {name!r}")
        elif name in names:
            found.append(f"{label}: twice")
        names.add(label)
        found += [f"{label}: {problem}" for problem in _layer_problems(layer)]
    return found


def _layer_problems(layer: Mapping[str, Any]) -> list[str]:
    checks = {
        "name": lambda value: True,  # told by the caller
        "shape": lambda value: (
            isinstance(value, list)
            and len(value) in (2, 4)
            and all(type(n) is int and n > 0 for n in value)
        ),
        "alpha": lambda value: _number(value) and value > 1,
        "fit_distance": lambda value: _number(value) and 0 <= value <= 1,
        "frozen": lambda value: isinstance(value, bool),
        "weight_share": lambda value: _number(value) and 0 <= value <= 1,
        "mac_share": lambda value: value is None or (_number(value) and 0 <= value <= 1),
    }
    found = [
        f"{key} {layer[key]!r}" if key in layer else f"no {key}"
        for key, check in checks.items()
        if key not in layer or not check(layer[key])
    ]
    return found + [f"unknown {key}" for key in layer if key not in checks]


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]

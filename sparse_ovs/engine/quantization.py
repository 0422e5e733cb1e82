"""Quantization: the scales with which an encoder computes in int8, as an object and as a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sparse_ovs.engine.graph import Conv, Quant
from sparse_ovs.formats import FileFormatError, read_file, write_file
from sparse_ovs.version import __version__

_KIND = "quantization"
_WEIGHTS = "weight_scales."


@dataclass(frozen=True, eq=False)
class Quantization:
    """Scales of an encoder's maps and weights, by layer: the names that a compiled encoder shows.

    Attributes:
        values: by layer, what the u8 integers of its output stand for; "input" is the encoder's.
        weight_scales: by convolution, (O,) float32: of its s8 weights, by output channel.
        excluded: convolutions that stay in fp32.
        provenance: how it was made.
    """

    values: Mapping[str, Quant]
    weight_scales: Mapping[str, Tensor]
    excluded: frozenset[str] = frozenset()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def check(self, labels: Mapping[str, str], convs: Sequence[Conv]) -> None:
        """Raises ValueError, which names a layer, where it is not that of a graph.

        Args:
            labels: of the graph's values, by name.
            convs: the graph's convolutions.
        """
        for conv in convs:
            label = labels[conv.name]
            scales = self.weight_scales.get(label)
            missing = [labels[n] for n in (*conv.sources(), conv.name)]
            missing = [each for each in missing if each not in self.values]
            if scales is None or missing:
                lacking = label if scales is None else missing[0]
                raise ValueError(
                    f"expected a quantization of this model, got one without {lacking}"
                )
            if scales.numel() != conv.weight.shape[0]:
                raise ValueError(
                    f"expected a quantization of this model, got {scales.numel()} channels of "
                    f"{label}, which has {conv.weight.shape[0]}"
                )
        known = {labels[conv.name] for conv in convs}
        if foreign := sorted(self.weight_scales.keys() - known):
            raise ValueError(
                f"expected a quantization of this model, got one of {foreign[0]}, which it lacks"
            )

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Its tensors, and what a file's header says of it."""
        layers = list(self.values)
        tensors = {
            "scales": torch.tensor([self.values[name].scale for name in layers]),
            "zero_points": torch.tensor(
                [self.values[name].zero_point for name in layers], dtype=torch.uint8
            ),
            **{f"{_WEIGHTS}{name}": t for name, t in self.weight_scales.items()},
        }
        about = {
            "layers": layers,
            "excluded": sorted(self.excluded),
            "provenance": dict(self.provenance),
        }
        return {name: t.contiguous().clone() for name, t in tensors.items()}, about

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a safetensors file, atomically."""
        tensors, about = self.pack()
        write_file(path, tensors, {"kind": _KIND, "library": __version__, **about})


def load_quantization(path: str | os.PathLike[str]) -> Quantization:
    """Reads what Quantization.save wrote.

    Raises:
        FileNotFoundError: no such file.
        FileFormatError: a damaged, foreign or newer file.
    """
    tensors, header = read_file(path)
    if header.get("kind") != _KIND:
        raise FileFormatError(
            f"expected a file of a quantization, got {header.get('kind')!r}: {path}"
        )
    return unpack_quantization(tensors, header, path)


def unpack_quantization(
    tensors: Mapping[str, Tensor], about: Mapping[str, Any], path: str | os.PathLike[str]
) -> Quantization:
    """What Quantization.pack gave.

    Args:
        path: of the file that it comes from, for errors.

    Raises:
        FileFormatError: a damaged one.
    """
    try:
        pairs = zip(tensors["scales"].tolist(), tensors["zero_points"].tolist(), strict=True)
        values = dict(zip(about["layers"], (Quant(*pair) for pair in pairs), strict=True))
        weights = {
            name.removeprefix(_WEIGHTS): scales
            for name, scales in tensors.items()
            if name.startswith(_WEIGHTS)
        }
        _check_scales(values, weights)
        return Quantization(values, weights, frozenset(about["excluded"]), about["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"expected a whole quantization in {path}, got a damaged one: {error}"
        ) from error


def _check_scales(values: Mapping[str, Quant], weights: Mapping[str, Tensor]) -> None:
    for name, quant in values.items():
        if not 0 < quant.scale < float("inf"):
            raise ValueError(f"expected a scale above 0 of {name}, got {quant.scale}")
    for name, scales in weights.items():
        if scales.dtype != torch.float32 or scales.dim() != 1 or not bool((scales > 0).all()):
            raise ValueError(f"expected scales above 0 of {name}'s weights, got others")

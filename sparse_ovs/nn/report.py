"""What a swap did, layer by layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class LayerReport:
    """One eligible layer.

    Attributes:
        name: in the model.
        kind: "conv2d", "linear" or "attention".
        shape: of the weight.
        pattern: of its mask; "" where the layer was left as it was.
        density: kept fraction of its weight.
        backend: what runs it, see `SparseWeight.backend`.
        reason: why it is dense; "" where a sparse kernel runs it.
        macs: multiply-accumulates of the dense layer on the example input; None without one.
        bytes_dense: of the float32 weight.
        bytes_sparse: of the packed weight, as a file holds it; bytes_dense where the layer was left
            as it was.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    pattern: str
    density: float
    backend: str
    reason: str
    macs: int | None
    bytes_dense: int
    bytes_sparse: int


@dataclass
class SparsifyReport:
    """All eligible layers of a model, in module order; `str` gives a table.

    Attributes:
        layers: one entry for each.
        notes: what else the caller should know, a line each.
    """

    layers: list[LayerReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"layers": [asdict(layer) for layer in self.layers], "notes": self.notes}

    def get(self, name: str) -> LayerReport | None:
        """The entry of a layer; None where it was not eligible."""
        return next((layer for layer in self.layers if layer.name == name), None)

    def __getitem__(self, name: str) -> LayerReport:
        found = self.get(name)
        if found is None:
            raise KeyError(f"expected the name of a reported layer, got {name!r}")
        return found

    def __str__(self) -> str:
        sparse = sum(layer.backend != "dense" for layer in self.layers)
        lines = [f"{sparse} of {len(self.layers)} layers run native"]
        width = max((len(layer.name) for layer in self.layers), default=0)
        for layer in self.layers:
            shape = "x".join(map(str, layer.shape))
            why = f"  {layer.reason}" if layer.reason else ""
            lines.append(
                f"{layer.name:<{width}}  {shape:>16}  density {layer.density:6.4f}  "
                f"{layer.backend}{why}"
            )
        return "\n".join([*lines, *self.notes])

"""What a compression did, as numbers: what report.json holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sparse_ovs.compression.quality import Quality
from sparse_ovs.compression.repair import Repaired
from sparse_ovs.compression.timing import Speed


@dataclass(frozen=True)
class LayerRecord:
    """One layer.

    Attributes:
        name: as masks call it.
        shape: of its weight.
        density: kept fraction.
        macs: of one image, dense.
        error: of its outputs, relative, on the images that it was compressed on: the norm of the
            difference by that of the dense ones.
        ms: of one image; None where times were not measured.
    """

    name: str
    shape: tuple[int, ...]
    density: float
    macs: int
    error: float
    ms: float | None = None


@dataclass(frozen=True)
class Report:
    """Of one compression.

    Attributes:
        model: what was compressed, in words.
        settings: as asked for.
        input_shape: (1, C, H, W).
        layers: in the order in which they run.
        density: kept fraction of the layers' weights.
        macs_share: kept fraction of their MACs.
        images: compressed on.
        skipped: files that could not be read, and why.
        quality: on images held out, of what runs: in int8 of the int8 encoder.
        speed: None where it cannot be measured here.
        repaired: None without repair.
        seconds: that this process took.
        peak_bytes: the most memory that this process held.
        notes: what else to know.
    """

    model: str
    settings: Mapping[str, Any]
    input_shape: tuple[int, ...]
    layers: Sequence[LayerRecord]
    density: float
    macs_share: float
    images: int
    skipped: Sequence[str]
    quality: Quality
    speed: Speed | None
    repaired: Repaired | None
    seconds: float
    peak_bytes: int
    notes: Sequence[str] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def headline(self) -> str:
        """The result in one line."""
        parts = [f"{self.density:.1%} of the weights, {self.macs_share:.1%} of the MACs"]
        if self.speed is not None:
            parts.insert(0, f"{self.speed.speedup} as fast")
        if self.quality.embedding is not None:
            parts.append(f"cosine of the embedding {self.quality.embedding:.4f}")
        elif self.quality.maps:
            parts.append(f"cosine of the last output {self.quality.maps[-1]:.4f}")
        return f"{self.model}, {self.settings['precision']}: " + ", ".join(parts)

"""What a profile says: the JSON record, and what only the printed report adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields

from sparse_ovs.profiling.errors import MapErrors
from sparse_ovs.profiling.timing import Ratio


@dataclass(frozen=True)
class LayerRow:
    """One conv, linear or attention. MACs over the whole batch; bytes of its weights and bias;
    times in ms.

    `ms_dense` is of eager modules under hooks; `ms_sparse` too, or of the plan's steps: they show
    where time goes and are not part of the speedup. `bytes_sparse` is the packed size where
    the layer runs sparse, in fp32. `reason` says why it runs dense, or in fp32 inside an int8 or
    bf16 plan. `ms_fp32` is of our plan in fp32, beside one in another precision.
    """

    name: str
    stage: str
    kind: str
    shape: tuple[int, ...]
    pattern: str | None
    density: float
    macs_dense: int
    macs_sparse: int
    bytes_dense: int
    bytes_sparse: int
    ms_dense: float
    ms_sparse: float
    backend: str
    reason: str
    ms_fp32: float | None = None


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of everything in one stage, norms and activations included; as in LayerRow."""

    stage: str
    ms_dense: float
    ms_sparse: float


@dataclass(frozen=True)
class Int8DenseRow:
    """The dense encoder in int8 by another runtime.

    Attributes:
        name: one of runtimes.INT8_DENSE.
        label: for people.
        ms: median; None where it could not be built.
        errors: of its maps against dense fp32.
        ratio: of its time over ours.
        failure: why it could not be built.
    """

    name: str
    label: str
    ms: float | None
    errors: MapErrors | None = None
    ratio: Ratio | None = None
    failure: str = ""


@dataclass(frozen=True)
class Extras:
    """What the printed report says beyond the record.

    Attributes:
        best: name of the fastest dense baseline, the one that `speedup` is against.
        ratio: of that baseline over ours, with its spread.
        failures: reasons by baseline that could not be built.
        stages: times by stage; `between` is what happens between the modules (adds, reshapes).
        rounds: samples behind each time.
        weights: where the weights are from, in words.
    """

    best: str
    ratio: Ratio
    failures: dict[str, str]
    stages: Sequence[StageTimes]
    between: StageTimes
    rounds: int
    weights: str


@dataclass(frozen=True)
class Profile:
    """One measured encoder; `to_dict` is the record that is written as JSON.

    Attributes:
        density: the one asked for, or "weights": the zeros that the weights came with.
        profile: how the density is spread over the layers: "uniform", "trained" or a file; None
            with "weights".
        size: (H, W) of the input in pixels.
        dense_ms: medians of the dense baselines, None where one could not be built.
        sparse_ms: median of ours.
        cpu: name of the CPU, or of the GPU where isa is "CUDA".
        speedup: median over the rounds of (the fastest dense baseline / ours).
        max_rel_err: largest max|a - b| / max|b| over the maps, b from the dense model with the same
            weights.
        precision: of ours, "fp32", "bf16" or "int8".
        fp32_ms: median of our plan in fp32, where `precision` is another.
        rel_err, cosine: of the maps, as in MapErrors.
        int8_dense: the dense encoder in int8 by other runtimes, where it was asked for.
    """

    model: str
    pattern: str
    density: float | str
    profile: str | None
    mode: str
    size: tuple[int, int]
    batch: int
    threads: int
    isa: str
    cpu: str
    torch: str
    dense_ms: dict[str, float | None]
    sparse_ms: float
    speedup: float
    macs_dense: int
    macs_sparse: int
    params_dense: int
    params_kept: int
    bytes_dense: int
    bytes_sparse: int
    max_rel_err: float
    layers: Sequence[LayerRow]
    extras: Extras = field(repr=False)
    precision: str = "fp32"
    fp32_ms: float | None = None
    rel_err: float = 0.0
    cosine: float = 1.0
    int8_dense: Sequence[Int8DenseRow] = ()

    @property
    def errors(self) -> MapErrors:
        """Of our maps."""
        return MapErrors(self.max_rel_err, self.rel_err, self.cosine)

    @property
    def ours(self) -> str:
        """What was timed against the others, in words."""
        return f"sparse_ovs, {self.mode}" + (
            "" if self.precision == "fp32" else f", {self.precision}"
        )

    def to_dict(self) -> dict[str, object]:
        """Plain types only, ready for json.dumps."""
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extras"}
        record["size"] = list(self.size)
        record["int8_dense"] = [asdict(row) for row in self.int8_dense]
        record["layers"] = [asdict(row) | {"shape": list(row.shape)} for row in self.layers]
        return record


@dataclass(frozen=True)
class StageRow:
    """The layers of one stage summed up; times as in StageTimes, bytes and MACs as in LayerRow."""

    stage: str
    layers: int
    density: float
    macs_dense: int
    macs_sparse: int
    bytes_dense: int
    bytes_sparse: int
    ms_dense: float
    ms_sparse: float


def stage_rows(profile: Profile) -> list[StageRow]:
    """One row a stage, in the order of the encoder; a stage without weighted layers has zeros."""
    rows = []
    for times in profile.extras.stages:
        inside = [row for row in profile.layers if row.stage == times.stage]
        weights = [row.bytes_dense for row in inside]
        kept = sum(row.density * count for row, count in zip(inside, weights, strict=True))
        rows.append(
            StageRow(
                times.stage,
                len(inside),
                kept / sum(weights) if inside else 1.0,
                sum(row.macs_dense for row in inside),
                sum(row.macs_sparse for row in inside),
                sum(row.bytes_dense for row in inside),
                sum(row.bytes_sparse for row in inside),
                times.ms_dense,
                times.ms_sparse,
            )
        )
    return rows

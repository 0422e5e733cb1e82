"""What is compared: the tables of fp32 and int8 with floors and goals, and the full grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product

from peer_runs.contestants import CONTESTANTS, DENSE, DENSE_TORCH, OURS


@dataclass(frozen=True)
class Configuration:
    """One pruned encoder on one input with one number of threads.

    Attributes:
        model: an open_clip name.
        size: (H, W) in pixels.
        density: kept fraction of the weights in the encoder's default scope.
        pattern: "unstructured" or "block4x1".
        profile: how the density is spread over the layers, "uniform" or "trained".
        precision: of ours, "fp32" or "int8".
    """

    model: str
    size: tuple[int, int]
    batch: int
    threads: int
    density: float
    pattern: str
    profile: str
    precision: str = "fp32"

    @property
    def weights_name(self) -> str:
        """Names everything that depends neither on threads nor on precision: weights, images and
        exported graph."""
        height, width = self.size
        return (
            f"{self.model}-{height}x{width}-b{self.batch}-{self.profile}-{self.density:g}-"
            f"{self.pattern}"
        )

    @property
    def name(self) -> str:
        precision = "" if self.precision == "fp32" else f"-{self.precision}"
        return f"{self.weights_name}-t{self.threads}{precision}"

    @property
    def ours(self) -> str:
        """The contestant that the others are compared with."""
        return OURS[self.precision]

    def __str__(self) -> str:
        height, width = self.size
        size = f"{height}" if height == width else f"{height}x{width}"
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        precision = "" if self.precision == "fp32" else f", {self.precision}"
        return (
            f"{self.model}, {size}{batch}, {threads}, {self.profile} {self.density:g} "
            f"{self.pattern}{precision}"
        )


@dataclass(frozen=True)
class Row:
    """One line of the report: how many times faster `ours` is than the fastest of `against`.

    Attributes:
        against, ours: contestants (see contestants.py).
        floor, goal: ratios to reach; None where none is set.
        beside: contestants that are measured and shown too.
    """

    name: str
    configuration: Configuration
    against: tuple[str, ...]
    against_text: str
    ours: str = "sparse_ovs"
    floor: float | None = None
    goal: float | None = None
    beside: tuple[str, ...] = ()


def _rn50(
    size: int | tuple[int, int],
    threads: int,
    profile: str = "uniform",
    density: float = 0.1,
    pattern: str = "unstructured",
    batch: int = 1,
    precision: str = "fp32",
) -> Configuration:
    height_width = (size, size) if isinstance(size, int) else size
    return Configuration("RN50", height_width, batch, threads, density, pattern, profile, precision)


_TRAINED = _rn50(640, 1, "trained")
_UNIFORM = _rn50(640, 1)
_BLOCKS = _rn50(640, 1, pattern="block4x1")
_SMALL = _rn50(224, 1)
_LARGE = _rn50((800, 1216), 2)
_BATCH = _rn50(224, 2, batch=8)
_VIT = Configuration("ViT-B-16", (224, 224), 1, 2, 0.1, "block4x1", "uniform")
_HALF = _rn50(640, 1, density=0.5)
_ORT, _DEEPSPARSE = ("onnxruntime",), ("deepsparse",)
_BEST = "best dense peer"

TABLE: tuple[Row, ...] = (
    Row("01-trained-ort", _TRAINED, _ORT, "ONNX Runtime, dense", floor=2.5, goal=3.8),
    Row("02-trained-deepsparse", _TRAINED, _DEEPSPARSE, "DeepSparse, sparse", floor=1.4, goal=2.2),
    Row("03-uniform-ort", _UNIFORM, _ORT, "ONNX Runtime, dense", floor=3.5, goal=5.0),
    Row("04-uniform-deepsparse", _UNIFORM, _DEEPSPARSE, "DeepSparse, sparse", floor=1.8, goal=2.6),
    Row("05-block4x1-ort", _BLOCKS, _ORT, "ONNX Runtime, dense", floor=5.0, goal=7.0),
    Row("06-224-best", _SMALL, DENSE, _BEST, floor=2.6, goal=4.5),
    Row("07-800x1216-best", _LARGE, DENSE, _BEST, floor=3.5, goal=5.0),
    Row("08-batch8-best", _BATCH, DENSE, _BEST, floor=3.0, goal=4.5),
    Row("09-vit-best", _VIT, DENSE, _BEST, floor=2.5, goal=4.0),
    Row(
        "10-two-threads",
        _UNIFORM,
        ("sparse_ovs",),
        "itself on 1 thread",
        ours="sparse_ovs_2_threads",
        floor=1.8,
        goal=1.95,
    ),
    Row("11-half-torch", _HALF, DENSE_TORCH, "best dense torch", floor=0.95, goal=1.2),
)

_BESIDE = ("onnxruntime_int8", "torch_int8", "openvino_bf16", "sparse_ovs")


def _int8(
    name: str,
    size: int | tuple[int, int],
    threads: int,
    profile: str = "uniform",
    density: float = 0.1,
    pattern: str = "unstructured",
    batch: int = 1,
    floor: float | None = None,
    goal: float | None = None,
) -> Row:
    """Of RN50, against OpenVINO's int8, which takes every weight as dense."""
    configuration = _rn50(size, threads, profile, density, pattern, batch, "int8")
    return _against_int8(name, configuration, floor, goal)


def _against_int8(
    name: str, configuration: Configuration, floor: float | None = None, goal: float | None = None
) -> Row:
    return Row(
        f"int8-{name}",
        configuration,
        ("openvino_int8",),
        "OpenVINO int8, dense",
        "sparse_ovs_int8",
        floor,
        goal,
        _BESIDE,
    )


def _blocks(model: str) -> Configuration:
    return Configuration(model, (224, 224), 1, 1, 0.1, "block4x1", "uniform", "int8")


# Floors and goals are those of a CPU with AVX-512 VNNI and no AMX (see report.evaluate).
INT8_TABLE: tuple[Row, ...] = (
    _int8("01-uniform", 640, 1, floor=2.6, goal=3.3),
    _int8("02-trained", 640, 1, "trained", floor=2.0, goal=2.5),
    _int8("03-block4x1", 640, 1, pattern="block4x1", floor=3.3, goal=4.3),
    _int8("04-block4x1-trained", 640, 1, "trained", pattern="block4x1", floor=2.7, goal=3.6),
    _int8("05-dense", 640, 1, density=1.0, floor=0.95, goal=1.0),
    Row(
        "int8-06-two-threads",
        _rn50(640, 1, precision="int8"),
        ("sparse_ovs_int8",),
        "itself on 1 thread",
        "sparse_ovs_int8_2_threads",
        floor=1.8,
        goal=1.95,
    ),
    _int8("07-640-two-threads", 640, 2),
    _int8("08-224", 224, 1),
    _int8("09-224-batch8", 224, 2, batch=8),
    _int8("10-800x1216", (800, 1216), 2),
    _against_int8("11-vit", _blocks("ViT-B-16"), floor=2.0, goal=3.0),
    _against_int8("12-convnext", _blocks("convnext_base")),
)

_FULL_SIZES = ((224, 224), (640, 640), (800, 1216))
_FULL_DENSITIES = {
    "uniform": (0.02, 0.05, 0.1, 0.2, 0.3, 0.5),
    "trained": (0.05, 0.1, 0.2, 0.3),  # those that trained masks are known of
}


def full_grid() -> Iterator[Row]:
    """Every combination on RN50: against the best dense peer, and against DeepSparse both ways.

    Thread counts of the same weights are neighbours, so that their files can go afterwards.
    """
    spreads = [(name, d) for name, densities in _FULL_DENSITIES.items() for d in densities]
    for size, batch, (profile, density), pattern, threads in product(
        _FULL_SIZES, (1, 8), spreads, ("unstructured", "block4x1"), (1, 2)
    ):
        configuration = _rn50(size, threads, profile, density, pattern, batch)
        name = configuration.name
        dense = (*DENSE, "deepsparse_dense")
        yield Row(f"{name}-best", configuration, dense, _BEST)
        yield Row(f"{name}-deepsparse", configuration, _DEEPSPARSE, "DeepSparse, sparse")


def select(rows: Iterable[Row], only: str | None) -> list[Row]:
    """Rows whose own name, or whose configuration's, matches the glob; all of them without one.

    Raises:
        ValueError: nothing matches.
    """
    rows = list(rows)
    if only is None:
        return rows
    found = [
        row
        for row in rows
        if fnmatchcase(row.name, only) or fnmatchcase(row.configuration.name, only)
    ]
    if not found:
        names = ", ".join(row.name for row in rows[:21])
        raise ValueError(f"expected a case such as {names}, or a glob of them, got {only!r}")
    return found


def group(rows: Sequence[Row], peers: Sequence[str] | None) -> dict[Configuration, list[str]]:
    """What to measure: each configuration once, with every contestant that its rows need.

    Args:
        peers: contestants to keep beside ours; None keeps all.

    Raises:
        ValueError: an unknown peer.
    """
    known = [name for name, contestant in CONTESTANTS.items() if not contestant.ours]
    for name in peers or ():
        if name not in known:
            raise ValueError(f"expected peers of {', '.join(known)}, got {name!r}")
    needed: dict[Configuration, set[str]] = {}
    for row in rows:
        needed.setdefault(row.configuration, set()).update({row.ours, *row.against, *row.beside})
    return {
        configuration: [
            name
            for name, contestant in CONTESTANTS.items()
            if name in names and (contestant.ours or peers is None or name in peers)
        ]
        for configuration, names in needed.items()
    }

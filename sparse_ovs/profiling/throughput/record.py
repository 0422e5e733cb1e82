"""What a throughput benchmark says: images a second and latencies by contestant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles

from sparse_ovs.profiling.throughput.streams import Load
from sparse_ovs.profiling.timing import Ratio

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ThroughputRow:
    """One contestant.

    Attributes:
        name: "sparse fp32", "compiled", "openvino_int8", ...
        images_per_second: median, lower and upper quartile over the rounds; None where it did not
            run.
        latency_ms: of one batch: 50th, 90th and 99th percentile over all rounds.
        against_dense: its images a second over those of the fastest dense fp32 torch.
        problem: why it did not run.
    """

    name: str
    images_per_second: Ratio | None
    latency_ms: tuple[float, float, float] | None
    against_dense: Ratio | None
    problem: str = ""


@dataclass(frozen=True)
class Throughput:
    """All contestants of one run, which took turns.

    Attributes:
        streams: batches in flight.
        threads: of each stream.
        seconds: of each turn.
        rounds: turns of each contestant.
    """

    model: str
    size: tuple[int, int]
    batch: int
    streams: int
    threads: int
    seconds: float
    rounds: int
    density: float
    pattern: str
    profile: str
    machine: dict[str, str]
    rows: Sequence[ThroughputRow]

    def to_dict(self) -> dict[str, object]:
        """Plain types only, ready for json.dumps."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}


def make_rows(
    loads: dict[str, list[Load]], batch: int, dense: Sequence[str], problems: dict[str, str]
) -> list[ThroughputRow]:
    """Rows of what was measured, dense torch first.

    Args:
        loads: by contestant, one a round.
        batch: images of a call.
        dense: which of them are dense fp32 torch.
        problems: of those that did not run.
    """
    rates = {name: [batch * one.calls_per_second for one in done] for name, done in loads.items()}
    best = max((name for name in dense if name in rates), key=lambda n: median(rates[n]))
    rows = [
        ThroughputRow(
            name,
            Ratio.of(rates[name]),
            _percentiles([ms for one in done for ms in one.latencies_ms]),
            Ratio.of([a / b for a, b in zip(rates[name], rates[best], strict=True)]),
        )
        for name, done in loads.items()
    ]
    return rows + [ThroughputRow(name, None, None, None, why) for name, why in problems.items()]


def _percentiles(samples: Sequence[float]) -> tuple[float, float, float]:
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    cuts = quantiles(samples, n=100, method="inclusive")
    return cuts[49], cuts[89], cuts[98]

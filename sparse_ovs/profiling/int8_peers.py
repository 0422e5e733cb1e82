"""The dense encoder in int8 by other runtimes, as contestants of a profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from sparse_ovs.profiling.errors import map_errors
from sparse_ovs.profiling.failures import in_a_line
from sparse_ovs.profiling.record import Int8DenseRow
from sparse_ovs.profiling.runtimes import INT8_DENSE
from sparse_ovs.profiling.timing import Timings


@dataclass
class Int8Peers:
    """What could be built: runs by name, and the reason for each that could not."""

    runs: dict[str, Callable[[], list[np.ndarray]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def rows(self, timings: Timings, reference: Sequence[np.ndarray]) -> list[Int8DenseRow]:
        """Their part of the record.

        Args:
            timings: of these runs, and of "sparse".
            reference: maps of dense fp32.
        """
        made = [
            Int8DenseRow(
                name,
                INT8_DENSE[name].label,
                timings.median(name),
                map_errors(run(), reference),
                timings.ratio(name, "sparse"),
            )
            for name, run in self.runs.items()
        ]
        failed = [
            Int8DenseRow(name, INT8_DENSE[name].label, None, failure=reason)
            for name, reason in self.failures.items()
        ]
        return made + failed


def build_int8_dense(
    dense: nn.Module,
    x: Tensor,
    names: Sequence[str],
    calibration: Sequence[Tensor],
    threads: int,
    on_build: Callable[[str], None] = lambda label: None,
) -> Int8Peers:
    """Quantises and builds each; one that fails does not stop the others.

    Args:
        dense: in eval mode.
        names: some of INT8_DENSE.
        calibration: batches like x.
        on_build: called with the label of a runtime before it is built.

    Raises:
        ValueError: an unknown name.
    """
    peers = Int8Peers()
    batches = [batch.numpy() for batch in calibration]
    for name in names:
        if name not in INT8_DENSE:
            raise ValueError(f"expected runtimes of {', '.join(INT8_DENSE)}, got {name!r}")
        on_build(INT8_DENSE[name].label)
        try:
            peers.runs[name] = INT8_DENSE[name].build(dense, x, batches, threads)
        except Exception as error:  # an exporter or a quantiser may fail in any way
            peers.failures[name] = in_a_line(error)
    return peers

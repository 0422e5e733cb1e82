"""Images a second under load: several streams of batches at once, ours against dense torch."""

from sparse_ovs.profiling.throughput.record import Throughput, ThroughputRow
from sparse_ovs.profiling.throughput.runner import measure_throughput
from sparse_ovs.profiling.throughput.tables import throughput_table

__all__ = ["Throughput", "ThroughputRow", "measure_throughput", "throughput_table"]

"""Benchmarks of layers and of the whole encoder on one device, as one JSON record."""

from sparse_ovs.profiling.bench.record import Bench, Row
from sparse_ovs.profiling.bench.runner import PATTERNS, run_bench
from sparse_ovs.profiling.bench.tables import bench_tables

__all__ = ["PATTERNS", "Bench", "Row", "bench_tables", "run_bench"]

"""Second-order compression after training: layers pruned and rounded so that their outputs stay."""

from sparse_ovs.compression.compressed import Compressed
from sparse_ovs.compression.record import LayerRecord, Report
from sparse_ovs.compression.run import compress, compress_all
from sparse_ovs.compression.settings import CompressionSettings

__all__ = [
    "Compressed",
    "CompressionSettings",
    "LayerRecord",
    "Report",
    "compress",
    "compress_all",
]

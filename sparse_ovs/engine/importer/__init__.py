"""Reads a torch.export program into the engine's graph."""

from sparse_ovs.engine.importer import (  # each fills the table of handlers
    convolutions,
    elementwise,
    pairs,
    transformers,
    views,
)
from sparse_ovs.engine.importer.pairs import is_quantised
from sparse_ovs.engine.importer.program import import_program

__all__ = [
    "convolutions",
    "elementwise",
    "import_program",
    "is_quantised",
    "pairs",
    "transformers",
    "views",
]

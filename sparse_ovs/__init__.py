"""Pruned CLIP image encoders that really run faster, for open-vocabulary segmentation."""

from sparse_ovs import _installed  # noqa: F401 - first, or others fail less clearly
from sparse_ovs.backbones import (
    create_backbone,
    swap_backbone,
    timm_models,  # registers its models
)
from sparse_ovs.checkpoint import load, save
from sparse_ovs.compilation import compile, load_plan
from sparse_ovs.nn import densify, sparsify
from sparse_ovs.patterns import make_global_masks, make_mask
from sparse_ovs.quantization import Quantization, load_quantization, quantize
from sparse_ovs.segmenter import Result, Segmenter, create_segmenter
from sparse_ovs.text import Vocabulary
from sparse_ovs.threads import get_num_threads, set_num_threads
from sparse_ovs.version import __version__

__all__ = [
    "Quantization",
    "Result",
    "Segmenter",
    "Vocabulary",
    "__version__",
    "compile",
    "create_backbone",
    "create_segmenter",
    "densify",
    "get_num_threads",
    "load",
    "load_plan",
    "load_quantization",
    "make_global_masks",
    "make_mask",
    "quantize",
    "save",
    "set_num_threads",
    "sparsify",
    "swap_backbone",
    "timm_models",
]

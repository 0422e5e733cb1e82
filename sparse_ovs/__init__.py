"""Pruned CLIP image encoders that really run faster, for open-vocabulary segmentation.

`import sparse_ovs` takes no time: a name's module, and torch, are imported when the name is used.
`torch.ops.sparse_ovs`, which programs of `torch.export` and saved modules refer to, is there as
soon as torch is imported too, whichever comes first, and our models in timm as soon as timm is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparse_ovs import _installed  # noqa: F401 - first, or others fail less clearly
from sparse_ovs._after_import import import_after
from sparse_ovs.version import __version__

if TYPE_CHECKING:
    from sparse_ovs.backbones import create_backbone, swap_backbone, timm_models
    from sparse_ovs.checkpoint import load, save
    from sparse_ovs.compilation import compile, load_plan
    from sparse_ovs.compression import Compressed, compress
    from sparse_ovs.nn.sparsify import densify, sparsify
    from sparse_ovs.patterns import make_global_masks, make_mask
    from sparse_ovs.quantization import Quantization, load_quantization, quantize
    from sparse_ovs.segmenter import Result, Segmenter, create_segmenter
    from sparse_ovs.text import Vocabulary
    from sparse_ovs.threads import get_num_threads, set_num_threads

__all__ = [
    "Compressed",
    "Quantization",
    "Result",
    "Segmenter",
    "Vocabulary",
    "__version__",
    "compile",
    "compress",
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

_HOMES = {
    "Compressed": "compression",
    "Quantization": "quantization",
    "Result": "segmenter",
    "Segmenter": "segmenter",
    "Vocabulary": "text",
    "compile": "compilation",
    "compress": "compression",
    "create_backbone": "backbones",
    "create_segmenter": "segmenter",
    "densify": "nn",
    "get_num_threads": "threads",
    "load": "checkpoint",
    "load_plan": "compilation",
    "load_quantization": "quantization",
    "make_global_masks": "patterns",
    "make_mask": "patterns",
    "quantize": "quantization",
    "save": "checkpoint",
    "set_num_threads": "threads",
    "sparsify": "nn",
    "swap_backbone": "backbones",
}
# That need no import of their own: `sparse_ovs.heads.HEADS`.
_MODULES = {
    **{home: home for home in _HOMES.values()},
    **{name: name for name in ("data", "engine", "heads", "ops")},
    "timm_models": "backbones.timm_models",
}

if not TYPE_CHECKING:  # or a name that is not there would pass type checks

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            value = getattr(import_module(f"sparse_ovs.{_HOMES[name]}"), name)
        elif name in _MODULES:
            value = import_module(f"sparse_ovs.{_MODULES[name]}")
        else:
            raise AttributeError(f"module 'sparse_ovs' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})


import_after("torch", "sparse_ovs.ops")  # registers torch.ops.sparse_ovs
import_after("timm", "sparse_ovs.backbones.timm_models")

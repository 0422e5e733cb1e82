"""Where things are kept that can be made again: tunings and compiled GPU kernels."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "SPARSE_OVS_CACHE"


def cache_folder() -> Path:
    """SPARSE_OVS_CACHE, or ~/.cache/sparse_ovs. It need not exist yet."""
    return Path(os.environ.get(VARIABLE) or "~/.cache/sparse_ovs").expanduser()

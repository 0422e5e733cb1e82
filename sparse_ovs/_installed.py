"""Says what to do where Python finds the sources before the installed package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

# The GPU kernels and the compiled library join the rest when it is installed.
if find_spec("sparse_ovs.kernels") is None:
    raise ImportError(
        f"expected sparse_ovs as installed, got its sources in {Path(__file__).parent}: "
        "`pip install -e .` there, or start Python in another folder"
    )

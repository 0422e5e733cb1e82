"""Triton kernels, one file an operation; installed as `sparse_ovs.kernels`.

The package itself imports without triton; its modules (`bsr_linear`, `bsr_conv2d`, `avg_pool2d`)
raise an ImportError that says what is missing. They hold plain functions of tensors and numbers.
"""

from importlib.util import find_spec


def unavailable_reason() -> str:
    """Why the kernels cannot be imported, in one sentence; "" where they can."""
    if find_spec("triton") is None:
        return "expected triton, in which the GPU kernels are written, got no such package"
    return ""

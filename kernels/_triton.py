"""triton for the kernels, or one clear sentence."""

from sparse_ovs.kernels import unavailable_reason

try:
    import triton
    import triton.language as tl
except ImportError as error:
    raise ImportError(unavailable_reason() or f"expected triton to import, got: {error}") from error

__all__ = ["tl", "triton"]

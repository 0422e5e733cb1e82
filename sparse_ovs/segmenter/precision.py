"""What a segmenter is asked to compute in, and where its scales come from."""

from __future__ import annotations

from typing import Any

from sparse_ovs.engine import Quantization

PRECISIONS = ("fp32", "int8")  # of segmenters


def check_precision(fast: bool, precision: str, calibrate: Any) -> None:
    """Raises ValueError for an unknown precision, and for arguments that make no sense together."""
    if precision not in PRECISIONS:
        raise ValueError(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "int8" and not fast:
        raise ValueError("expected fast=True with precision='int8', got fast=False")
    if precision != "int8" and calibrate is not None:
        raise ValueError(f"expected precision='int8' with calibrate, got {precision!r}")


def scales_from(precision: str, calibrate: Any, saved: Quantization | None = None) -> Any:
    """What to calibrate with: what was given, else what the file has; None in fp32.

    Raises:
        ValueError: int8 and neither.
    """
    if precision != "int8":
        return None
    if calibrate is not None:
        return calibrate
    if saved is None:
        raise ValueError(
            "expected calibrate with precision='int8': a folder of images, images, or a "
            "quantization, got None"
        )
    return saved

"""What is known of the GPU kernels without a GPU: the record that their tests keep.

`tests/gpu/README.md` says what the rungs mean, and how a test adds to the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

#: The rungs of evidence, and the question that each answers.
RUNGS = {
    "L0": "interpreted: the algorithm is right",
    "L1": "emulated: the compiled code is right, without a race or stray access",
    "L2": "machine code: registers, spills, tensor cores, 16-byte copies",
    "L3": "counted: instructions, sectors, passes over banks",
    "L4": "bounded: the least time that some layers take, by public peak rates",
    "GPU": "run on a GPU by `pytest -m gpu`",
}
FILE = Path(__file__).with_name("kernel_evidence.json")


@dataclass(frozen=True)
class KernelEvidence:
    """The rungs that one kernel passed.

    Attributes:
        code: digest of the sources that were tested.
        compiler: that compiled them, with its version.
        variants: by variant (direction, dtype, tile) and rung, the architectures: 80 for sm_80. L0
            knows none: its list is empty.
    """

    code: str
    compiler: str
    variants: Mapping[str, Mapping[str, tuple[int, ...]]]


def kernel_evidence(file: Path = FILE) -> dict[str, KernelEvidence]:
    """The record, by kernel.

    Args:
        file: JSON, `{kernel: {"code": ..., "compiler": ..., "variants": {variant: {rung: [80]}}}}`.

    Raises:
        OSError, ValueError: a file that is missing, or no such record.
    """
    try:
        return {
            kernel: KernelEvidence(
                entry["code"],
                entry["compiler"],
                {
                    variant: {rung: tuple(archs) for rung, archs in rungs.items()}
                    for variant, rungs in entry["variants"].items()
                },
            )
            for kernel, entry in json.loads(file.read_text()).items()
        }
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"expected a record of kernels' evidence in {file}, got {error}"
        ) from error


class VariantParts(NamedTuple):
    """What a variant's name says; tf32 and ieee are float32 with tensor cores and without."""

    direction: str
    dtype: str
    tile: str


def variant_parts(variant: str) -> VariantParts:
    """Of a name such as `weight_gradient float16 64x64`; the tile may be missing.

    Raises:
        ValueError: a name without a dtype.
    """
    match = re.fullmatch(r"(.+?) (float16|bfloat16|float32|tf32|ieee)(?: (.+))?", variant)
    if match is None:
        raise ValueError(f"expected a variant with its dtype, got {variant!r}")
    return VariantParts(match[1], match[2], match[3] or "")

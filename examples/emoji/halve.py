"""Halves a segmenter's file for shipping: python halve.py IN OUT writes the matrices of the head
and of CLIP's text tower and pool in fp16, which loading makes fp32 again; the trunk stays."""

import sys
from pathlib import Path

from sparse_ovs.formats import read_file, write_file

HALVED = ("head.", "clip.")


def main(source: Path, target: Path) -> None:
    """Vectors, such as norms' scales, keep their digits."""
    tensors, header = read_file(source)
    for name, value in tensors.items():
        if name.startswith(HALVED) and value.is_floating_point() and value.dim() > 1:
            tensors[name] = value.half()
    write_file(target, tensors, header)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

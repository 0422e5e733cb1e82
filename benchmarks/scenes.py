"""How many procedural scenes one core makes in a second, and a picture of some of them.

OMP_NUM_THREADS=1 python benchmarks/scenes.py --size 128 --sheet docs/images/scenes.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from PIL import Image

from sparse_ovs import _native
from sparse_ovs.data.scenes import SPLITS, Scenes

_ROUNDS = 7
_GAP = 3


def main() -> None:
    """Prints scenes per second (median of rounds), and writes the sheet where one is asked for."""
    options = _options()
    scenes = Scenes("train", options.size, options.count * _ROUNDS)
    scenes.scene(0)
    rates = []
    for round_ in range(_ROUNDS):
        start = perf_counter()
        for index in range(round_ * options.count, (round_ + 1) * options.count):
            scenes.scene(index)
        rates.append(options.count / (perf_counter() - start))
    print(
        f"{_native.cpu_name()}, {options.size}x{options.size}, one process: "
        f"{median(rates):.0f} scenes/s "
        f"(median of {_ROUNDS} rounds of {options.count}, {min(rates):.0f} to {max(rates):.0f})"
    )
    if options.sheet is not None:
        draw_sheet(options.sheet, options.size, options.columns)
        print(f"wrote {options.sheet}")


def draw_sheet(path: Path, size: int, columns: int) -> None:
    """Scenes of each split, a row a split."""
    step = size + _GAP
    sheet = np.full((len(SPLITS) * step + _GAP, columns * step + _GAP, 3), 255, np.uint8)
    for row, split in enumerate(SPLITS):
        scenes = Scenes(split, size, columns)
        for column in range(columns):
            top, left = _GAP + row * step, _GAP + column * step
            sheet[top : top + size, left : left + size] = scenes.scene(column).pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours are enough to see them by, in a third of the bytes.
    Image.fromarray(sheet).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--count", type=int, default=200, help="scenes a round")
    parser.add_argument("--sheet", type=Path, help="write a picture of some scenes here")
    parser.add_argument("--columns", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()

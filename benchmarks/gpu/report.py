"""Draws a results file of `run.sh` as Markdown: `python benchmarks/gpu/report.py results.json`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks" / "gpu"), str(ROOT / "tests")]

from gpu_runs.reporting.tables import markdown  # noqa: E402
from gpu_runs.results import read  # noqa: E402


def main() -> int:
    """See --help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, help="write it there; the terminal where missing")
    asked = parser.parse_args()
    try:
        text = markdown(read(asked.results))
    except ValueError as error:
        parser.error(str(error))
    if asked.out is None:
        print(text, end="")
    else:
        asked.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

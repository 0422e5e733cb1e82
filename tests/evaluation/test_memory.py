"""An evaluation with many classes on large images, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PEAK = """
import resource, sys
from sparse_ovs.cli.app import app
try:
    app()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.slow
def test_847_classes_at_full_size_stay_under_2_gb(tmp_path: Path) -> None:
    """RN50 on a photo of 2100 x 2800, whose scores alone would be 20 GB."""
    (tmp_path / "names.txt").write_text("".join(f"thing {k}\n" for k in range(847)))
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    pixels = random.integers(0, 256, (2100, 2800, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / "one.png")
    labels = random.integers(0, 847, (2100, 2800)).astype(np.uint16)
    labels[:100] = 65535
    Image.fromarray(labels).save(tmp_path / "labels" / "one.png")
    arguments = ["eval", "--data", tmp_path, "--dataset", "folder", "--templates", "bare"]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments), "--backbone", "RN50", "--json", "-"],
        env=os.environ | {"SPARSE_OVS_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    record = json.loads(done.stdout)
    assert record["protocol"]["classes"] == 847
    assert sum(entry["pixels"] for entry in record["scores"]["by_class"]) == 2000 * 2800
    assert int(done.stderr.split()[-1]) * 1024 < 2e9

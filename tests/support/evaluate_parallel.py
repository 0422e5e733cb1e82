"""Evaluates in one of several processes of accelerate, for the test of them; writes the scores."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sparse_ovs.evaluation import Evaluation, Processes, evaluate, launched
from support.small_labels import Answering, Labels, noise


def run(processes: Processes | None = None) -> Evaluation:
    """Always the same images and answers; their number is odd."""
    dataset, answers = Labels(noise(4, 7), ("a", "b", "c", "d")), noise(4, 7, seed=1)
    return evaluate(Answering(lambda i: answers[i]), dataset, processes=processes)


if __name__ == "__main__":
    processes = launched()
    record = run(processes).to_dict() | {"index": processes.index}
    Path(sys.argv[1], f"{processes.index}.json").write_text(json.dumps(record))

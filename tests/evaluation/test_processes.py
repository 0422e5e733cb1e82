"""The processes of an evaluation: one alone, or those that accelerate launched."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparse_ovs.evaluation import Alone, launched
from support import evaluate_parallel, scripts


def test_a_process_that_nobody_launched_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    made = launched()
    assert isinstance(made, Alone)
    assert (made.index, made.count) == (0, 1)
    assert made.gather(np.ones((3, 2), np.int64)).shape == (1, 3, 2)


def test_several_without_accelerate_are_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"expected accelerate, .*\(pip install .*got no such"):
        launched()


@pytest.mark.slow
def test_two_processes_of_accelerate_score_what_one_does(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = scripts.command(evaluate_parallel, tmp_path)
    running = []
    for index in range(2):
        own = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
        running.append(subprocess.Popen(command, env=scripts.environment(**own)))
    assert [process.wait(300) for process in running] == [0, 0]
    alone = evaluate_parallel.run()
    for index in range(2):
        record = json.loads((tmp_path / f"{index}.json").read_text())
        assert record["scores"] == json.loads(json.dumps(alone.scores.to_dict()))
        assert record["protocol"]["processes"] == 2
        assert record["index"] == index

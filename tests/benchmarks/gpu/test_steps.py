"""Every step runs up to its first launch without a GPU; small ones run whole, emulated."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.cuda.emulated import need_emulator
from gpu.encoder_layers import Layer
from gpu.modules.gpu_as_cpu import cpu_tensors_on_gpu
from gpu_runs import child, plan, results
from gpu_runs.environment import child_environment
from gpu_runs.lines import Listener, Teller
from gpu_runs.place import Place
from gpu_runs.plan import SMOKE, STEPS
from gpu_runs.steps import counters, gpu_tests, layer_times, smoke
from gpu_runs.steps.checks import check, relative_error
from gpu_runs.steps.picked import best_and_worst
from sparse_ovs import _cuda
from support.fake_gpu_runs import layer_row, record_of

ROOT = Path(__file__).parents[3]
# What takes longer than a few seconds in a rehearsal.
_SLOW = ("trunk", "others", "tests", "sanitizer")

pytestmark = pytest.mark.skipif(
    bool(_cuda.unavailable_reason()), reason=_cuda.unavailable_reason() or "NVRTC is there"
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A rehearsal's, with a record of nothing yet."""
    results.write(tmp_path / "results.json", record_of())
    return Place(tmp_path / "results.json", rehearsing=True)


def rehearse(module: str, items: list[str], place: Place) -> list[tuple[str, Any]]:
    path = place.results.with_name("lines")
    run = import_module(f"gpu_runs.steps.{module}").run
    assert child.run_items(run, items, place, Teller(path))
    return Listener(path).new()


def first_items() -> list[object]:
    return [
        pytest.param(
            step.module,
            next(iter(step.items)),
            id=step.name,
            marks=pytest.mark.slow if step.name in _SLOW else (),
        )
        for step in STEPS
    ]


@pytest.mark.parametrize(("module", "item"), first_items())
def test_a_step_runs_up_to_its_first_launch(
    module: str, item: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = child_environment(ROOT, place.results.parent, place.results.parent, True)
    for name in ("PYTHONPATH", child.REHEARSE):
        monkeypatch.setenv(name, environment[name])
    told = rehearse(module, [item], place)
    assert told[0] == ("begin", item)
    assert told[-1] == ("done", item)
    kinds = {row["kind"] for kind, row in told if kind == "row"}
    expected = {"ceilings": "ceiling", "gpu_tests": "tests", "sanitizer": "sanitizer"}
    assert expected.get(module, "launch") in kinds
    if module == "sanitizer":
        (row,) = (row for kind, row in told if kind == "row")
        assert row["families_run"] == len(SMOKE)


@pytest.mark.parametrize("family", SMOKE)
def test_every_family_of_the_smoke_step_launches_its_kernel(family: str, place: Place) -> None:
    told = rehearse("smoke", [family], place)
    kernel = family if family in ("sp24_residue", "csr_direct") else "forward_kernel"
    assert ("row", {"kind": "launch", "kernel": kernel}) in told


def test_the_smoke_cases_of_single_weights_are_right_under_the_emulator(place: Place) -> None:
    need_emulator()
    with cpu_tensors_on_gpu(90):
        rows = [row for item in ("csr_direct",) for row in smoke.run(item, place)]
    assert [row["right"] for row in rows] == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("family", SMOKE)
def test_the_smoke_cases_are_right_under_the_emulator(family: str, place: Place) -> None:
    need_emulator()
    with cpu_tensors_on_gpu(90):
        rows = list(smoke.run(family, place))
    assert len(rows) >= 2
    assert all(row["right"] for row in rows)


def test_a_layer_is_timed_by_every_way_under_the_emulator(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    monkeypatch.setattr(layer_times, "ROUNDS", 1)
    layer = Layer("tiny", 64, 64, 3, 1)
    with cpu_tensors_on_gpu(90):
        rows = list(layer_times.time_layer(layer, 1, "float16", ("unstructured",), place))
    assert [row["route"] for row in rows] == ["sp24_residue"] * 3 + ["csr_direct"]
    for row in rows:
        assert row["right"]
        assert set(row["dense_ms"]) == {"cuDNN", "cuBLAS"}
        assert row["ours_ms"] > 0
        assert row["problems"] == {}
        json.dumps(row)


def test_a_way_that_fails_leaves_the_others_their_rows(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    monkeypatch.setattr(layer_times, "ROUNDS", 1)
    ways = {"unstructured": (("sp24_residue", (1,)), ("csr_direct", ()))}
    monkeypatch.setattr(layer_times, "WAYS", ways)

    def refuse(*_: object) -> None:
        raise RuntimeError("no such instruction")

    with cpu_tensors_on_gpu(90):
        from sparse_ovs.ops.cuda.routes.two_four import TwoFour

        monkeypatch.setattr(TwoFour, "conv2d", refuse)
        layer = Layer("tiny", 64, 64, 3, 1)
        failed, ran = layer_times.time_layer(layer, 1, "float16", ("unstructured",), place)
    assert failed["problems"] == {"sparse": "RuntimeError: no such instruction"}
    assert failed["ours_ms"] is None
    assert ran["right"]


def test_a_lost_gpu_ends_the_child(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_gpu_works", lambda: False)
    path = place.results.with_name("lines")
    real = Place(place.results, rehearsing=False)
    assert not child.run_items(lambda item, where: iter(()), ["one", "two"], real, Teller(path))
    assert [kind for kind, _ in Listener(path).new()] == ["begin", "done", "note"]


def test_what_is_wrong_or_of_another_shape_is_no_pass() -> None:
    import torch

    exact = torch.tensor([1.0, 2.0])
    assert relative_error(torch.tensor([1.0, 2.2]), exact) == pytest.approx(0.1)
    nan = torch.tensor([torch.nan, 2.0])
    assert not check("f", "c", nan, exact, 0.5)["right"]
    assert not check("f", "c", exact[:1], exact, 0.5)["right"]
    assert check("f", "c", exact, exact, 0.5)["right"]


def test_the_best_and_the_worst_of_each_route_are_looked_at() -> None:
    speeds = {"a": 1.5, "b": 0.5, "c": 1.0}
    rows = [layer_row(layer=name, speedup=[s, s, s]) for name, s in speeds.items()]
    rows += [layer_row(route="csr_direct", variant=[]), layer_row(speedup=None, layer="d")]
    found = [(spec["route"], spec["layer"]) for spec in best_and_worst(rows)]
    assert found == [("bsr", "a"), ("bsr", "b"), ("csr_direct", "layer3.1.conv2")]
    names = {layer.name for layer in plan.layers_by_value()}
    assert {spec["layer"] for spec in best_and_worst([])} <= names


def test_a_profiler_s_details_are_read_by_launch() -> None:
    text = (
        "==PROF== Connected\n"
        '"ID","Kernel Name","Section Name","Metric Name","Metric Unit","Metric Value",'
        '"Rule Name","Rule Description"\n'
        '"0","csr_direct","Occupancy","Theoretical Occupancy","%","75","",""\n'
        '"0","csr_direct","Occupancy","","","","Achieved","wait less"\n'
        '"1","forward_kernel","Launch","Registers","register/thread","72","",""\n'
    )
    first, second = counters.read_details(text)
    assert first["kernel"] == "csr_direct"
    assert first["figures"] == {"Theoretical Occupancy": "75 %"}
    assert first["advice"] == ["wait less"]
    assert second["figures"] == {"Registers": "72 register/thread"}
    assert counters.read_details("==ERROR== no counters\n") == []


def test_a_report_of_tests_is_counted_and_its_failures_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(
        '<testsuites><testsuite><testcase name="a"/>'
        '<testcase name="b"><failure message="m">assert 1 == 2</failure></testcase>'
        '<testcase name="c"><skipped/></testcase></testsuite></testsuites>'
    )
    assert gpu_tests.read_report(path) == {
        "passed": 1,
        "failed": 1,
        "skipped": 1,
        "failures": {"b": "assert 1 == 2"},
    }


_WITHOUT = """
import importlib.machinery
_find = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    if name.partition(".")[0] in ("open_clip", "ftfy", "pytest", "hypothesis", "transformers"):
        return None
    return _find(name, path, target)
importlib.machinery.PathFinder.find_spec = find_spec
"""


@pytest.mark.parametrize(
    ("module", "item"),
    [
        ("smoke", "csr_direct"),
        pytest.param("trunk", "batch 1", marks=pytest.mark.slow),
    ],
)
def test_open_clip_and_test_tools_may_be_missing(module: str, item: str, place: Place) -> None:
    folder = place.results.parent
    (folder / "sitecustomize.py").write_text(_WITHOUT)
    environment = child_environment(ROOT, folder / "out", folder, True)
    lines = folder / "lines"
    command = [sys.executable, "-m", "gpu_runs.child", module, str(lines), str(place.results), item]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder)
    assert made.returncode == 0, made.stderr
    told = Listener(lines).new()
    assert told[0][0] == "note"
    assert "open_clip is missing" in told[0][1]
    launched = [row["kernel"] for kind, row in told if kind == "row"]
    # timm's trunk pools before its first sparse layer.
    assert launched == ["csr_direct" if module == "smoke" else "forward_kernel"]

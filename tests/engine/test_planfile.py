"""Plan files: what was compiled runs again from a file, to the bit, in Python and from C."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, safe_open, save_file
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs._native import loading
from sparse_ovs.backbones import Backbone
from sparse_ovs.backbones.vit import ViTTrunk
from sparse_ovs.engine import CompiledEncoder
from sparse_ovs.engine.column_gaps import column_gaps
from sparse_ovs.formats import FileFormatError
from support.forks import in_child
from support.oracles import random_sparse_weight
from support.small_encoders import Host, Small
from support.small_transformers import convnext, vit

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A small compiled encoder, and its file."""
    torch.manual_seed(0)
    compiled = sparse_ovs.compile(Small().eval(), torch.randn(1, 3, 20, 24))
    path = tmp_path_factory.mktemp("plan") / "small.plan"
    compiled.save(path)
    return compiled, path


def assert_equal(a: list[Tensor], b: list[Tensor]) -> None:
    assert len(a) == len(b)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_loaded_rn50_gives_the_compiled_one_s_bits(
    sparse_rn50: Backbone, photo: Tensor, tmp_path: Path
) -> None:
    compiled = sparse_ovs.compile(sparse_rn50, photo)
    compiled.save(tmp_path / "rn50")
    loaded = sparse_ovs.load_plan(tmp_path / "rn50")
    for x in (photo, torch.randn(2, 3, 65, 47)):
        assert_equal(loaded(x), compiled(x))
    assert (tmp_path / "rn50").stat().st_size < 0.17 * 4 * 23_527_264


@pytest.mark.parametrize("size", [(20, 24), (9, 40), (4, 4)])
def test_a_loaded_encoder_takes_any_size(
    saved: tuple[nn.Module, Path], size: tuple[int, int]
) -> None:
    compiled, path = saved
    x = torch.randn(2, 3, *size)
    assert_equal(sparse_ovs.load_plan(path)(x), compiled(x))


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
@pytest.mark.parametrize("density", [0.0, 1.0])
def test_empty_full_and_block_weights_are_saved(
    pattern: str, density: float, tmp_path: Path
) -> None:
    x = torch.randn(1, 3, 12, 14)
    compiled = sparse_ovs.compile(Small(density, pattern).eval(), x)
    compiled.save(tmp_path / "plan")
    assert_equal(sparse_ovs.load_plan(tmp_path / "plan", threads=1)(x), compiled(x))


def test_groups_strides_and_dilations_are_saved(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(4, 12, (3, 1), (2, 1), (2, 0), groups=2)
            self.b = nn.Conv2d(12, 6, 3, padding=2, dilation=2, groups=3, bias=False)
            for conv in (self.a, self.b):
                conv.weight.data = random_sparse_weight(conv.weight.shape, 0.4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))

    x = torch.randn(1, 4, 17, 11)
    compiled = sparse_ovs.compile(Odd().eval(), x)
    compiled.save(tmp_path / "plan")
    assert torch.equal(sparse_ovs.load_plan(tmp_path / "plan")(x), compiled(x))


@pytest.mark.parametrize(
    "forward",
    [
        lambda conv, x: conv(x),
        lambda conv, x: (conv(x), x),
        lambda conv, x: {"a": [conv(x), conv(conv(x))], "b": (F.avg_pool2d(conv(x), 2),)},
        lambda conv, x: [(conv(conv(x)) + x).relu()],
    ],
)
def test_the_nesting_of_the_outputs_is_kept(forward: Callable[..., object], tmp_path: Path) -> None:
    x = torch.randn(1, 3, 8, 8)
    compiled = sparse_ovs.compile(Host(forward).eval(), x)
    compiled.save(tmp_path / "plan")
    torch.testing.assert_close(
        sparse_ovs.load_plan(tmp_path / "plan")(x), compiled(x), rtol=0, atol=0
    )


def test_a_plan_with_torch_nodes_is_not_saved_and_says_which(tmp_path: Path) -> None:
    model = Host(lambda conv, x: torch.sigmoid(conv(F.max_pool2d(x, 2)))).eval()
    compiled = sparse_ovs.compile(model, torch.randn(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"got aten\.max_pool2d.*aten\.sigmoid"):
        compiled.save(tmp_path / "plan")
    assert not list(tmp_path.iterdir())


def test_the_file_names_its_layers(saved: tuple[nn.Module, Path]) -> None:
    with safe_open(saved[1], "pt") as file:
        header = json.loads(file.metadata()["sparse_ovs"])
        names = set(file.keys())
    assert header["kind"] == "plan"
    steps = {step["name"]: step for step in header["steps"]}
    assert list(steps)[:3] == ["stem", "conv1", "conv2"]
    assert steps["conv1"]["inputs"] == ["stem"]
    assert {"stem.weight", "conv2.values", "conv2.indices", "conv2.row_ptr"} <= names


def test_a_loaded_encoder_follows_the_forward_contract(saved: tuple[nn.Module, Path]) -> None:
    loaded = sparse_ovs.load_plan(saved[1])
    x = torch.randn(1, 3, 16, 16)
    with pytest.raises(TypeError, match=r"expected a float32 input on the CPU, got torch\.float64"):
        loaded(x.double())
    with pytest.raises(ValueError, match=r"expected an input \(N, 3, H, W\), got \(1, 4, 16, 16\)"):
        loaded(torch.randn(1, 4, 16, 16))
    with pytest.raises(ValueError, match="expected a larger input than 2x2"):
        loaded(torch.randn(1, 3, 2, 2))
    with pytest.raises(ValueError, match="expected at least 1 thread, got 0"):
        sparse_ovs.load_plan(saved[1], threads=0)
    last = x.contiguous(memory_format=torch.channels_last)
    assert_equal(loaded(last), loaded(x))
    assert_equal(copy.deepcopy(loaded)(x), loaded(x))


def test_sixteen_callers_of_a_loaded_encoder_get_their_own_results(
    saved: tuple[nn.Module, Path],
) -> None:
    inputs = [torch.randn(1, 3, 16 + i % 10, 24) for i in range(16)]
    expected = [saved[0](x) for x in inputs]
    loaded = sparse_ovs.load_plan(saved[1], threads=2)
    with ThreadPoolExecutor(16) as pool:
        for _ in range(5):
            for ours, theirs in zip(pool.map(loaded, inputs), expected, strict=True):
                assert_equal(ours, theirs)


def test_a_loaded_encoder_runs_in_a_forked_child(saved: tuple[nn.Module, Path]) -> None:
    loaded = sparse_ovs.load_plan(saved[1], threads=2)
    x = torch.randn(1, 3, 40, 40)
    expected = loaded(x)

    def same_and_new_size() -> bool:
        again = all(torch.equal(a, b) for a, b in zip(loaded(x), expected, strict=True))
        return again and len(loaded(torch.randn(1, 3, 24, 56))) == 2

    assert in_child(same_and_new_size)


def test_damaged_foreign_and_newer_files_are_refused(
    saved: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    whole = saved[1].read_bytes()
    with pytest.raises(FileNotFoundError, match="expected a file, got none at"):
        sparse_ovs.load_plan(tmp_path / "none")
    path = tmp_path / "plan"
    for size in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match="expected a plan file, got"):
            sparse_ovs.load_plan(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(FileFormatError, match="expected a file written by sparse_ovs"):
        sparse_ovs.load_plan(path)
    _rewrite(saved[1], path, lambda header: header | {"format_version": 99})
    with pytest.raises(FileFormatError, match="expected format version 2 or older, got 99"):
        sparse_ovs.load_plan(path)
    _rewrite(saved[1], path, lambda header: header | {"tree": {"set": ["stem"]}})
    with pytest.raises(FileFormatError, match="expected a plan file, got"):
        sparse_ovs.load_plan(path)


def test_saved_models_and_plans_are_not_mistaken_for_each_other(
    saved: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    with pytest.raises(FileFormatError, match="got a plan, which load_plan reads"):
        sparse_ovs.load(saved[1])
    sparse_ovs.save(nn.Conv2d(1, 1, 1), tmp_path / "model")
    with pytest.raises(FileFormatError, match="expected a plan, got another file of sparse_ovs"):
        sparse_ovs.load_plan(tmp_path / "model")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C example, built against the library under test."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    header = ROOT / "csrc" / "include"
    if compiler is None or not header.is_dir() or sys.platform != "linux":
        pytest.skip("needs a C compiler and the sources")
    library = Path(loading.library()._name)
    made = tmp_path_factory.mktemp("c") / "run_plan"
    source = ROOT / "examples" / "c" / "run_plan.c"
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    link = [f"-L{library.parent}", "-lsparse_ovs", f"-Wl,-rpath,{library.parent}"]
    subprocess.run(
        [compiler, *warnings, f"-I{header}", str(source), "-o", str(made), *link], check=True
    )
    return made


def run_c(program: Path, plan: Path, x: Tensor) -> tuple[np.ndarray, str]:
    """All outputs of an image, one after the other, as the C example computes them, and what it
    prints."""
    x.numpy().tofile(plan.with_suffix(".x"))
    places = [str(plan.with_suffix(suffix)) for suffix in (".x", ".y")]
    height, width = x.shape[2:]
    done = subprocess.run(
        [str(program), str(plan), str(height), str(width), "2", *places],
        capture_output=True,
        text=True,
        check=True,
    )
    return np.fromfile(places[1], np.float32), done.stdout


def in_a_row(maps: list[Tensor]) -> np.ndarray:
    return np.concatenate([m.numpy().ravel() for m in maps])


def test_a_c_program_computes_the_bits_that_python_computes(
    saved: tuple[nn.Module, Path], program: Path
) -> None:
    compiled, path = saved
    x = torch.randn(1, 3, 31, 26)
    found, printed = run_c(program, path, x)
    maps = compiled(x)
    assert np.array_equal(found, in_a_row(maps))
    for i, m in enumerate(maps):
        assert f"output {i}: {' x '.join(map(str, m.shape))}\n" in printed
    assert "best of 5 runs: " in printed


def compiled_int8(model: nn.Module, x: Tensor, **how: object) -> CompiledEncoder:
    q = sparse_ovs.quantize(model, [x])
    return sparse_ovs.compile(model, x, precision="int8", quantization=q, autotune=False, **how)


@pytest.mark.parametrize("pattern", ["unstructured", "block2x1", "block4x1", "dense"])
def test_a_saved_int8_encoder_computes_the_same_bits_in_python_and_c(
    pattern: str, program: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    sparse = (0.3, pattern) if pattern != "dense" else (1.0, "unstructured")
    compiled = compiled_int8(Small(*sparse, width=32).eval(), torch.randn(2, 3, 40, 48))
    compiled.save(tmp_path / "plan")
    for size in ((40, 48), (31, 26)):
        for threads in (1, 2):
            x = torch.randn(2, 3, *size)
            assert_equal(sparse_ovs.load_plan(tmp_path / "plan", threads)(x), compiled(x))
        x = torch.randn(1, 3, *size)
        assert np.array_equal(run_c(program, tmp_path / "plan", x)[0], in_a_row(compiled(x)))


def test_an_int8_encoder_with_layers_in_fp32_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Small(width=16).eval(), torch.randn(1, 3, 40, 48)
    q = sparse_ovs.quantize(model, [x], exclude=["conv2"])
    compiled = sparse_ovs.compile(model, x, precision="int8", quantization=q)
    compiled.save(tmp_path / "plan")
    assert_equal(sparse_ovs.load_plan(tmp_path / "plan")(x), compiled(x))
    tensors = load_file(tmp_path / "plan")
    assert {"conv1.gaps", "conv1.counts", "conv1.scales", "conv2.indices"} <= tensors.keys()
    assert (tensors["conv1.values"].dtype, tensors["conv2.values"].dtype) == (
        torch.int8,
        torch.float32,
    )


@pytest.mark.parametrize("pattern", ["unstructured", "block2x1", "block4x1"])
def test_an_int8_encoder_without_its_dense_weights_is_saved_to_the_same_bytes(
    pattern: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model, x = Small(0.2, pattern, width=16).eval(), torch.randn(1, 3, 40, 48)
    for release in (False, True):
        compiled_int8(model, x, release_dense=release).save(tmp_path / str(release))
    assert (tmp_path / "True").read_bytes() == (tmp_path / "False").read_bytes()


def test_an_int8_rn50_of_a_tenth_of_its_weights_takes_a_twentieth_of_the_dense_bytes(
    tmp_path: Path,
) -> None:
    model = sparse_ovs.create_backbone("RN50", density=0.1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # those of a new model let no weight of a branch count
    x = torch.randn(1, 3, 64, 64)
    compiled = compiled_int8(model.eval(), x)
    compiled.save(tmp_path / "rn50")
    assert_equal(sparse_ovs.load_plan(tmp_path / "rn50")(x), compiled(x))
    assert (tmp_path / "rn50").stat().st_size < 0.055 * 4 * 23_474_016


@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=9),
    reach=st.sampled_from([1, 3, 254, 255, 256, 700]),
    seed=st.integers(0, 99),
)
def test_gaps_are_bytes_of_which_those_of_255_go_on(
    counts: list[int], reach: int, seed: int
) -> None:
    draw = np.random.RandomState(seed)
    rows = [np.cumsum(draw.randint(1, reach + 1, count)) - 1 for count in counts]
    columns = torch.from_numpy(np.concatenate(rows)).long()
    made = iter(column_gaps(columns, torch.tensor(counts)).tolist())
    for row in rows:
        column = -1
        for wanted in row:
            column += 1
            while (byte := next(made)) == 255:
                column += 255
            column += byte
            assert column == wanted
    assert next(made, None) is None


def test_a_damaged_int8_file_is_refused_with_the_step(tmp_path: Path) -> None:
    compiled_int8(Small().eval(), torch.randn(1, 3, 20, 24)).save(tmp_path / "plan")
    tensors = load_file(tmp_path / "plan")
    with safe_open(tmp_path / "plan", "pt") as file:
        metadata = file.metadata()
    tensors["conv2.gaps"] = tensors["conv2.gaps"][:-1].clone()
    save_file(tensors, tmp_path / "plan", metadata=metadata)
    with pytest.raises(FileFormatError, match=r"columns in conv2\.gaps, got fewer in conv2"):
        sparse_ovs.load_plan(tmp_path / "plan")


@pytest.fixture(scope="module")
def saved_vit(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A small compiled vision transformer for 32 x 32 pixels, and its file."""
    compiled = sparse_ovs.compile(ViTTrunk(vit(), [0, 2]), torch.randn(1, 3, 32, 32))
    path = tmp_path_factory.mktemp("plan") / "vit.plan"
    compiled.save(path)
    return compiled, path


@pytest.fixture(scope="module")
def saved_convnext(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A small compiled ConvNeXt, and its file."""
    compiled = sparse_ovs.compile(convnext(features_only=True), torch.randn(1, 3, 64, 64))
    path = tmp_path_factory.mktemp("plan") / "convnext.plan"
    compiled.save(path)
    return compiled, path


def test_a_saved_vit_computes_the_same_bits_in_python_and_c(
    saved_vit: tuple[nn.Module, Path], program: Path
) -> None:
    compiled, path = saved_vit
    x = torch.randn(1, 3, 32, 32)
    assert_equal(sparse_ovs.load_plan(path)(x), compiled(x))
    assert np.array_equal(run_c(program, path, x)[0], in_a_row(compiled(x)))


def test_a_saved_vit_takes_batches(saved_vit: tuple[nn.Module, Path]) -> None:
    compiled, path = saved_vit
    x = torch.randn(3, 3, 32, 32)
    assert_equal(sparse_ovs.load_plan(path)(x), compiled(x))


def test_a_saved_vit_refuses_another_size_in_python_and_c(
    saved_vit: tuple[nn.Module, Path], program: Path
) -> None:
    said = "expected an input of 32x32 pixels, which the program is for, got 40x32"
    loaded = sparse_ovs.load_plan(saved_vit[1])
    with pytest.raises(ValueError, match=said):
        loaded(torch.randn(1, 3, 40, 32))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_c(program, saved_vit[1], torch.randn(1, 3, 40, 32))
    assert failed.value.stderr == f"error: maps: {said}\n"


@pytest.mark.parametrize("size", [(64, 64), (40, 33)])
def test_a_saved_convnext_computes_the_same_bits_in_python_and_c_at_any_size(
    saved_convnext: tuple[nn.Module, Path], program: Path, size: tuple[int, int]
) -> None:
    compiled, path = saved_convnext
    x = torch.randn(1, 3, *size)
    assert_equal(sparse_ovs.load_plan(path)(x), compiled(x))
    assert np.array_equal(run_c(program, path, x)[0], in_a_row(compiled(x)))


def test_a_c_program_is_told_why_a_file_is_refused(program: Path, tmp_path: Path) -> None:
    (tmp_path / "plan").write_bytes(b"no plan at all")
    done = subprocess.run(
        [str(program), str(tmp_path / "plan")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: load: expected a whole safetensors file, got one ")


def _rewrite(source: Path, path: Path, change: Callable[[dict], dict]) -> None:  # type: ignore[type-arg]
    with safe_open(source, "pt") as file:
        header = json.loads(file.metadata()["sparse_ovs"])
    save_file(load_file(source), path, metadata={"sparse_ovs": json.dumps(change(header))})

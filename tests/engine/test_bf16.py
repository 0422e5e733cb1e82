"""Plans in bf16: errors within their rounding, conversions where they must be, reasons, files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import _native
from sparse_ovs.engine import bf16 as engine_bf16
from sparse_ovs.engine.graph import Convert
from sparse_ovs.engine.in_torch import run_in_torch
from sparse_ovs.formats import FileFormatError
from support.oracles import random_sparse_weight
from support.small_encoders import Small

needs_bf16 = pytest.mark.skipif(
    bool(_native.unavailable_reason()) or _native.bf16_isa() is None,
    reason="no bf16 kernel runs on this CPU",
)
PATTERNS = [("unstructured", 0.3), ("block4x1", 0.3), ("unstructured", 1.0)]


def compiled(model: nn.Module, x: Tensor, **how: object) -> sparse_ovs.engine.CompiledEncoder:
    return sparse_ovs.compile(model, x, precision="bf16", **{"threads": 1, **how})


def rounded(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(x.dtype)


def bound(x: Tensor, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """A convolution in fp64 of fp32 numbers, and how far bf16 may be from it: roundings (2^-8) of
    input and weight in each product, of the bias's sum in fp32, and of the output."""
    how = (conv.stride, conv.padding, conv.dilation, conv.groups)
    weight, bias = conv.weight.detach().double(), conv.bias.detach().double()
    exact = F.conv2d(x.double(), weight, bias, *how)
    size = F.conv2d(x.double().abs(), weight.abs(), bias.abs(), *how)
    inside = size * (2 * 2.0**-8 + 2.0**-16 + weight[0].numel() * 2.0**-23)
    return exact, inside + (exact.abs() + inside) * 2.0**-8


@needs_bf16
@pytest.mark.parametrize(("pattern", "density"), PATTERNS)
@pytest.mark.parametrize("autotune", [False, True])
def test_a_convolution_is_within_the_rounding_of_its_numbers(
    pattern: str, density: float, autotune: bool
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(40, 24, 3, padding=1)
    conv.weight.data = random_sparse_weight(conv.weight.shape, density, pattern, 0)
    x = torch.randn(2, 40, 19, 33)
    exact, allowed = bound(x, conv)
    made = compiled(conv.eval(), x, autotune=autotune)(x)
    assert bool(((made - exact).abs() <= allowed).all())


@needs_bf16
@pytest.mark.parametrize(("pattern", "density"), PATTERNS)
def test_an_encoder_is_as_far_from_fp32_as_its_roundings_in_torch(
    pattern: str, density: float
) -> None:
    torch.manual_seed(0)
    model, x = Small(density, pattern, 32).eval(), torch.randn(2, 3, 37, 50)
    with torch.no_grad():
        exact = model.double()(x.double())
    fast = compiled(model.float(), x)
    plan, graph = fast.plan_for(x), fast._graph
    assert all(node.bf16 for node in graph.nodes if not isinstance(node, Convert))
    values = {graph.input: x}
    for node in graph.nodes:
        values[node.name] = run_in_torch(node, values, plan._weights)
    for ours, name, true in zip(fast(x), graph.outputs, exact, strict=True):
        reference = float((values[name] - true).norm() / true.norm())
        assert 1e-4 < reference < 0.02
        assert float((ours - true).norm() / true.norm()) <= 1.1 * reference + 1e-6


@needs_bf16
def test_results_are_the_same_for_every_number_of_threads_and_size_of_batch() -> None:
    torch.manual_seed(0)
    model, x = Small(width=32).eval(), torch.randn(3, 3, 64, 80)
    one, two = compiled(model, x), compiled(model, x, threads=2)
    whole = one(x)
    for number, image in enumerate(x):
        for maps in (two(x), one(image[None]), two(image[None])):
            for ours, theirs in zip(maps, whole, strict=True):
                assert torch.equal(ours[number if len(ours) > 1 else 0], theirs[number])


@needs_bf16
def test_a_value_is_converted_once_each_way() -> None:
    x = torch.randn(1, 3, 32, 32)
    fast = compiled(Small().eval(), x)
    converts = [node for node in fast._graph.nodes if isinstance(node, Convert)]
    assert [node.bf16 for node in converts] == [True, False, False]  # the input, two outputs
    rows = fast.plan_for(x).rows()
    assert [r.backend for r in rows if r.op == "convert"] == ["to bf16"] + 2 * ["from bf16"]
    assert {r.backend.split()[0] for r in rows if r.op != "convert"} == {"bf16"}


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plain, self.soft = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.deep = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.sin(F.relu(self.plain(x)))
        return self.deep(F.gelu(self.soft(y)))


@needs_bf16
def test_what_stays_in_fp32_says_why() -> None:
    torch.manual_seed(0)
    x, model = torch.randn(1, 4, 8, 8), Mixed().eval()
    fast = compiled(model, x)
    rows = {row.name: row for row in fast.plan_for(x).rows()}
    assert rows["plain"].backend.startswith("bf16")
    assert rows["plain"].reason == ""
    assert rows["soft"].reason == "no bf16 kernel applies gelu"
    assert rows["deep"].reason == "no bf16 kernel of depthwise convolutions"
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x), rtol=0.02, atol=0.02)


def test_a_cpu_without_bf16_compiles_to_fp32_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_bf16._native, "bf16_isa", lambda: None)
    x, model = torch.randn(1, 3, 32, 32), Small().eval()
    fast = compiled(model, x, autotune=False)
    said = "no bf16 kernel runs on this CPU: it takes AVX512_BF16"
    assert {row.reason for row in fast.plan_for(x).rows() if row.density is not None} == {said}
    in_fp32 = sparse_ovs.compile(model, x, threads=1, autotune=False)
    for ours, theirs in zip(fast(x), in_fp32(x), strict=True):
        assert torch.equal(ours, theirs)


@needs_bf16
@pytest.mark.parametrize(("pattern", "density"), PATTERNS)
def test_a_plan_file_gives_the_same_bits_in_half_the_bytes(
    pattern: str, density: float, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model, x = Small(density, pattern, 32).eval(), torch.randn(1, 3, 40, 48)
    fast = compiled(model, x, autotune=False)
    fast.save(tmp_path / "bf16.plan")
    sparse_ovs.compile(model, x, threads=1, autotune=False).save(tmp_path / "fp32.plan")
    loaded = sparse_ovs.load_plan(tmp_path / "bf16.plan", threads=1)
    for ours, theirs in zip(loaded(x), fast(x), strict=True):
        assert torch.equal(ours, theirs)
    sizes = [(tmp_path / f"{name}.plan").stat().st_size for name in ("bf16", "fp32")]
    assert sizes[0] < 0.8 * sizes[1]


@needs_bf16
def test_a_plan_file_of_bf16_is_refused_where_no_kernel_multiplies_it(tmp_path: Path) -> None:
    x = torch.randn(1, 3, 32, 32)
    compiled(Small().eval(), x, autotune=False).save(tmp_path / "bf16.plan")
    script = f"import sparse_ovs; sparse_ovs.load_plan({str(tmp_path / 'bf16.plan')!r})"
    narrow = os.environ | {"SPARSE_OVS_ISA": "avx2"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=narrow,
        capture_output=True,
        text=True,
        check=False,
    )
    assert FileFormatError.__name__ in done.stderr
    assert "expected a CPU with AVX512_BF16 for numbers of bf16, got avx2 without" in done.stderr


@needs_bf16
@pytest.mark.parametrize(("pattern", "density"), PATTERNS)
def test_weights_may_be_held_once(pattern: str, density: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Small(density, pattern, 64).eval(), torch.randn(1, 3, 64, 80)
    kept = compiled(model, x, autotune=False)
    small = compiled(model, x, release_dense=True)
    assert small.memory().packed_bytes < kept.memory().packed_bytes / 4
    small.save(tmp_path / "small.plan")  # from the form that the kernels read
    loaded = sparse_ovs.load_plan(tmp_path / "small.plan", threads=1)
    for image in (x, torch.randn(2, 3, 40, 40)):
        for other in (small, loaded):
            for ours, theirs in zip(other(image), kept(image), strict=True):
                assert torch.equal(ours, theirs)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_quantization_is_for_int8_alone(precision: str) -> None:
    model, x = Small().eval(), torch.randn(1, 3, 32, 32)
    q = sparse_ovs.quantize(model, [x])
    with pytest.raises(ValueError, match=f"expected precision='int8' with a.*got '{precision}'"):
        sparse_ovs.compile(model, x, precision=precision, quantization=q)

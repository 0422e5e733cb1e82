"""Autotuning: what is timed and when, what is chosen, and that no bit of the results changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs._native import ConvSpot, NativeWeights, Tuning
from sparse_ovs.engine import tuning_cache
from support.oracles import random_sparse_weight
from support.small_encoders import Small

X = torch.randn(1, 3, 40, 48)


class Timings:
    """Counts the layers that are timed; decides which candidate wins where `winner` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.winner: int | None = None  # place among the candidates; -1 is the last
        self.dense_wins = False
        really = NativeWeights.time

        def time(
            weights: NativeWeights, spot: ConvSpot, tunings: Sequence[Tuning], rounds: int
        ) -> list[float]:
            self.count += 1
            if self.winner is None:
                return really(weights, spot, tunings, rounds)
            unit = 0.5 if self.dense_wins and weights.block_rows is None else 1.0
            seconds = [2 * unit] * len(tunings)
            seconds[min(self.winner, len(tunings) - 1)] = unit
            return seconds

        monkeypatch.setattr(NativeWeights, "time", time)


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Timings:
    monkeypatch.setenv("SPARSE_OVS_AUTOTUNE", "1")
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path / "cache"))
    return Timings(monkeypatch)


def one_conv(density: float, kernel: int = 3, channels: int = 32) -> nn.Module:
    """A dense 1x1 convolution, then one of this density."""
    conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
    conv.weight.data = random_sparse_weight(conv.weight.shape, density, "unstructured", 1)
    return nn.Sequential(nn.Conv2d(3, channels, 1), conv).eval()


def tiles(compiled: nn.Module, x: Tensor = X) -> list[str]:
    return [row.tile for row in compiled.plan_for(x).rows()]


def assert_same_bits(a: Sequence[Tensor], b: Sequence[Tensor]) -> None:
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_each_sparse_layer_is_timed_at_the_first_compile_and_none_at_the_second(
    timings: Timings,
) -> None:
    model = Small(0.15, width=32).eval()
    first = sparse_ovs.compile(model, X)
    assert timings.count == 4
    second = sparse_ovs.compile(model, X)
    assert timings.count == 4
    assert tiles(second) == tiles(first)


def test_equal_layers_are_timed_once(timings: Timings) -> None:
    sparse_ovs.compile(nn.Sequential(*one_conv(0.1), one_conv(0.1)[1]).eval(), X)
    assert timings.count == 1


def test_threads_share_tunings(timings: Timings) -> None:
    for threads in (1, 2):
        sparse_ovs.compile(Small(0.15, width=32).eval(), X, threads=threads)
    assert timings.count == 4


def test_other_densities_and_sizes_are_timed(timings: Timings) -> None:
    sparse_ovs.compile(one_conv(0.1), X)
    sparse_ovs.compile(one_conv(0.15), X)
    assert timings.count == 2
    sparse_ovs.compile(one_conv(0.1), torch.randn(1, 3, 20, 24))
    assert timings.count == 3


def test_layers_without_zeros_are_not_timed(timings: Timings) -> None:
    sparse_ovs.compile(one_conv(1.0), X)
    assert timings.count == 0


def test_the_argument_turns_it_off(timings: Timings, tmp_path: Path) -> None:
    sparse_ovs.compile(Small().eval(), X, autotune=False)
    assert timings.count == 0
    assert not (tmp_path / "cache").exists()


def test_the_environment_turns_it_off_and_defaults_rule(
    timings: Timings, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tiles(sparse_ovs.compile(one_conv(0.1), X, autotune=False))
    timings.winner = -1
    tuned = tiles(sparse_ovs.compile(one_conv(0.1), X))
    assert tuned != expected
    monkeypatch.setenv("SPARSE_OVS_AUTOTUNE", "0")
    assert tiles(sparse_ovs.compile(one_conv(0.1), X)) == expected
    assert timings.count == 1


def test_another_word_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSE_OVS_AUTOTUNE", "no")
    with pytest.raises(ValueError, match="expected SPARSE_OVS_AUTOTUNE to be 0 or 1, got 'no'"):
        sparse_ovs.compile(Small().eval(), X)


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
def test_every_tuning_gives_the_same_bits(
    timings: Timings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pattern: str
) -> None:
    model = Small(0.15, pattern, width=32).eval()
    expected = sparse_ovs.compile(model, X, autotune=False)(X)
    seen = set()
    for winner in (0, 1, 2, -1):
        timings.winner = winner
        monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path / str(winner)))
        compiled = sparse_ovs.compile(model, X)
        seen.add(tuple(tiles(compiled)))
        assert_same_bits(compiled(X), expected)
    assert len(seen) > 2


def test_times_within_three_percent_keep_the_library_s_choice(
    timings: Timings, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = tiles(sparse_ovs.compile(one_conv(0.1), X, autotune=False))
    monkeypatch.setattr(
        NativeWeights,
        "time",
        lambda weights, spot, tunings, rounds: [1.02 - 0.01 * (i > 0) for i in range(len(tunings))],
    )
    assert tiles(sparse_ovs.compile(one_conv(0.1), X)) == default


def test_a_new_size_takes_the_nearest_tuning_without_timing(timings: Timings) -> None:
    model = one_conv(0.1)
    timings.winner = -1
    compiled = sparse_ovs.compile(model, X)
    tuned = tiles(compiled)[1]
    taller = torch.randn(1, 3, 44, 48)
    assert tiles(compiled, taller)[1] == tuned
    # At another width the tile is cut anew, the panel stays.
    wider = torch.randn(1, 3, 40, 57)
    assert tiles(compiled, wider)[1].split(", ")[1:] == tuned.split(", ")[1:]
    assert timings.count == 1
    default = sparse_ovs.compile(model, X, autotune=False)
    for x in (taller, wider):
        assert_same_bits(compiled(x), default(x))


def test_the_nearest_of_two_sizes_is_taken(timings: Timings) -> None:
    model = one_conv(0.1)
    by_height = {}
    for height, winner in ((20, 0), (80, -1)):
        timings.winner = winner
        x = torch.randn(1, 3, height, 48)
        by_height[height] = tiles(sparse_ovs.compile(model, x, threads=1), x)[1]
    compiled = sparse_ovs.compile(model, torch.randn(1, 3, 20, 48), threads=1)
    assert by_height[20] != by_height[80]
    assert tiles(compiled, torch.randn(1, 3, 70, 48))[1] == by_height[80]
    assert tiles(compiled, torch.randn(1, 3, 24, 48))[1] == by_height[20]


def test_weights_that_are_held_once_are_not_timed(timings: Timings) -> None:
    sparse_ovs.compile(one_conv(0.1), X, release_dense=True)
    assert timings.count == 0


def test_a_layer_of_few_zeros_runs_on_the_dense_kernels(timings: Timings) -> None:
    conv = one_conv(0.7, channels=128)[1]  # where Winograd's scheme wins by far
    model = nn.Sequential(nn.Conv2d(3, 128, 1), conv, nn.Conv2d(128, 8, 1)).eval()
    plain = sparse_ovs.compile(model, X, autotune=False)
    tuned = sparse_ovs.compile(model, X)
    assert [c.plan_for(X).rows()[1].backend for c in (plain, tuned)] == ["sparse rows1", "winograd"]
    torch.testing.assert_close(tuned(X), plain(X), rtol=1e-4, atol=1e-4)
    cached = sparse_ovs.compile(model, X)
    assert timings.count == 2  # sparse and dense
    assert torch.equal(cached(X), tuned(X))
    other = torch.randn(1, 3, 33, 48)
    torch.testing.assert_close(tuned(other), plain(other), rtol=1e-4, atol=1e-4)


def test_a_saved_encoder_runs_dense_what_ran_dense(timings: Timings, tmp_path: Path) -> None:
    timings.winner, timings.dense_wins = 0, True
    compiled = sparse_ovs.compile(Small(0.5, width=64).eval(), X)
    assert "winograd" in str(compiled)
    compiled.save(tmp_path / "plan")
    loaded = sparse_ovs.load_plan(tmp_path / "plan")
    assert_same_bits(loaded(X), compiled(X))
    assert "winograd" in str(loaded.plan_for(X))


def test_a_dense_form_is_timed_as_the_plan_would_run_it(timings: Timings) -> None:
    # The caller's output is no map for Winograd's scheme, without which dense is slower here.
    compiled = sparse_ovs.compile(one_conv(0.6, channels=128), X)
    assert timings.count == 2
    assert compiled.plan_for(X).rows()[1].backend == "sparse rows1"


@pytest.mark.parametrize("density", [0.95, 1.0])
def test_a_layer_of_almost_no_zeros_runs_in_full_blocks(timings: Timings, density: float) -> None:
    compiled = sparse_ovs.compile(one_conv(density, kernel=1, channels=128), X)
    assert compiled.plan_for(X).rows()[1].density == 1.0


def test_a_dense_layer_with_any_tiles_has_the_bits_of_the_sparse_one(timings: Timings) -> None:
    model = one_conv(0.5, kernel=1)
    expected = sparse_ovs.compile(model, X, autotune=False)(X)
    timings.winner, timings.dense_wins = -1, True
    compiled = sparse_ovs.compile(model, X)
    assert compiled.plan_for(X).rows()[1].density == 1.0
    assert torch.equal(compiled(X), expected)


def conv3x3(channels: int, groups: int = 1) -> nn.Conv2d:
    """Half of the weights are zeros."""
    conv = nn.Conv2d(channels, channels, 3, padding=1, groups=groups)
    conv.weight.data = random_sparse_weight(conv.weight.shape, 0.5, "unstructured", 1)
    return conv


class Adds(nn.Module):
    """activation(conv(x) + x)"""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.activation = conv3x3(64), activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.conv(x) + x)


class ReadsAnOutput(nn.Module):
    """Its first output is read by a convolution."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(64, 64, 1)
        self.conv, self.activation = conv3x3(64), activation
        self.last = nn.Conv2d(64, 8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.activation(self.conv(self.first(x)))
        return x, self.last(x)


def between(*modules: nn.Module) -> nn.Module:
    """The modules, between two dense 1x1 convolutions."""
    return nn.Sequential(nn.Conv2d(64, 64, 1), *modules, nn.Conv2d(64, 8, 1))


@pytest.mark.parametrize("activation", [nn.Identity(), nn.ReLU(), nn.GELU(), nn.GELU("tanh")])
@pytest.mark.parametrize(
    "build",
    [
        lambda activation: nn.Sequential(conv3x3(64), activation),
        lambda activation: nn.Sequential(conv3x3(32), activation),
        lambda activation: nn.Sequential(nn.Conv2d(64, 64, 1), conv3x3(64), activation),
        lambda activation: between(conv3x3(64), activation),
        lambda activation: between(conv3x3(64, groups=64), activation),
        lambda activation: between(Adds(activation)),
        Adds,
        ReadsAnOutput,
    ],
    ids=["alone", "few", "last", "between", "depthwise", "adds", "adds alone", "read again"],
)
@pytest.mark.parametrize("dense", [False, True])
def test_a_layer_is_timed_with_the_backend_that_the_plan_runs(
    timings: Timings,
    monkeypatch: pytest.MonkeyPatch,
    build: Callable[[nn.Module], nn.Module],
    activation: nn.Module,
    dense: bool,
) -> None:
    timed = {}

    def time(weights: NativeWeights, spot: ConvSpot, tunings: list[Tuning], _: int) -> list[float]:
        timed[weights.block_rows is None] = weights.backend(spot)
        return [1.0 if (weights.block_rows is None) == dense else 2.0] * len(tunings)

    monkeypatch.setattr(NativeWeights, "time", time)
    model = build(activation).eval()
    channels = next(model.parameters()).shape[1]
    x = torch.randn(1, channels, 12, 10)
    rows = sparse_ovs.compile(model, x).plan_for(x).rows()
    assert [row.backend for row in rows if "3x3" in row.op] == [timed[dense]]


def test_layers_that_differ_in_their_activation_are_timed_apart(timings: Timings) -> None:
    conv = one_conv(0.1)[1]
    for activation in (nn.Identity(), nn.GELU(), nn.Identity()):
        sparse_ovs.compile(nn.Sequential(nn.Conv2d(3, 32, 1), conv, activation).eval(), X)
    assert timings.count == 2


def test_dense_kernels_must_win_clearly(timings: Timings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        NativeWeights,
        "time",
        lambda weights, spot, tunings, rounds: (
            [0.95 if weights.block_rows is None else 1.0] * len(tunings)
        ),
    )
    compiled = sparse_ovs.compile(one_conv(0.5), X)
    assert compiled.plan_for(X).rows()[1].density < 0.6


def test_few_weights_are_never_timed_dense(timings: Timings) -> None:
    timings.winner, timings.dense_wins = 0, True
    compiled = sparse_ovs.compile(one_conv(0.1), X)
    assert compiled.plan_for(X).rows()[1].density < 0.2


def test_an_interrupted_tuning_leaves_no_half_of_it(
    timings: Timings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(NativeWeights, "time", fail)
    with pytest.raises(KeyboardInterrupt):
        sparse_ovs.compile(Small(0.15, width=32).eval(), X)
    assert tuning_cache.load_tunings() == {}


def test_int8_layers_are_timed_apart_from_those_in_fp32(timings: Timings) -> None:
    model = one_conv(0.1)
    sparse_ovs.compile(model, X)
    assert timings.count == 1
    q = sparse_ovs.quantize(model, [X])
    for _ in range(2):
        sparse_ovs.compile(model, X, precision="int8", quantization=q)
        assert timings.count == 3  # gathered and dense, once


@pytest.mark.parametrize("pattern", ["unstructured", "block2x1", "block4x1"])
@pytest.mark.parametrize("dense_wins", [False, True])
def test_every_int8_tuning_gives_the_same_bits(
    timings: Timings, tmp_path: Path, pattern: str, dense_wins: bool
) -> None:
    model, x = Small(0.1, pattern, width=32).eval(), torch.randn(2, 3, 64, 80)
    how = {"precision": "int8", "quantization": sparse_ovs.quantize(model, [x])}
    plain = sparse_ovs.compile(model, x, autotune=False, **how)
    timings.winner, timings.dense_wins = -1, dense_wins
    tuned = sparse_ovs.compile(model, x, **how)
    densities = [row.density for row in tuned.plan_for(x).rows() if row.density is not None]
    assert (set(densities) == {1.0}) == dense_wins
    assert tiles(tuned, x) != tiles(plain, x)
    tuned.save(tmp_path / "plan")
    loaded = sparse_ovs.load_plan(tmp_path / "plan")
    for image in (x, torch.randn(1, 3, 40, 56)):
        assert_same_bits(tuned(image), plain(image))
        assert_same_bits(loaded(image), plain(image))

"""The dense baselines: everything that torch offers to make the masked dense model fast."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.profiling.failures import in_a_line

Maps = Sequence[Tensor]
Run = Callable[[], Maps]

BASELINES = ("eager", "channels_last", "compiled", "frozen")


@dataclass
class DenseBaselines:
    """What could be built: runs by name, and the reason for each that could not."""

    runs: dict[str, Run] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def at_least_one(self) -> dict[str, Run]:
        """The runs.

        Raises:
            RuntimeError: there are none; tells the first reason.
        """
        if not self.runs:
            name, reason = next(iter(self.failures.items()))
            raise RuntimeError(f"no dense baseline could be built: {name}: {reason}")
        return self.runs


def build_baselines(
    dense: nn.Module,
    x: Tensor,
    names: Sequence[str] = BASELINES,
    on_build: Callable[[str], None] = lambda name: None,
) -> DenseBaselines:
    """Builds and warms up the dense baselines; one that fails does not stop the others.

    Compiled graphs of other models in this process are dropped (torch.compiler.reset), and will
    compile again.

    Args:
        dense: in eval mode; not changed.
        x: (N, C, H, W), the input of every run.
        names: some of BASELINES. Compiled models run in channels_last, the faster layout for
            convolutions.
        on_build: called with the name of the baseline before it is built.

    Raises:
        ValueError: an unknown name.
    """
    unknown = set(names) - set(BASELINES)
    if unknown:
        raise ValueError(
            f"expected baselines of {', '.join(BASELINES)}, got {sorted(unknown)[0]!r}"
        )
    torch.compiler.reset()
    built = DenseBaselines()
    for name in names:
        on_build(name)
        try:
            with torch.no_grad():
                built.runs[name] = _build(name, dense, x)
        except (
            Exception
        ) as error:  # a compiler may fail in any way: no C++ compiler, unknown op, its own bug
            built.failures[name] = in_a_line(error)
    return built


def _build(name: str, dense: nn.Module, x: Tensor) -> Run:
    if name == "eager":
        return _warm(copy.deepcopy(dense).eval(), x)
    model = copy.deepcopy(dense).eval().to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
    if name == "channels_last":
        return _warm(model, x)
    return _warm(_compile(name, model, x), x)


def build_after(name: str, call: Callable[[Any], Any], maps: Maps) -> Callable[[Any], Any]:
    """What follows an encoder, such as a head, run as that baseline runs: compiled where it is;
    called twice already.

    Args:
        name: one of BASELINES.
        call: on the encoder's maps.
        maps: of the baseline's encoder, as it will be called with.
    """
    if name in ("compiled", "frozen"):
        return _compile(name, call, maps)
    call(maps)
    return call


def _compile(name: str, model: Callable[[Any], Any], example: Any) -> Callable[[Any], Any]:
    """Called twice already."""
    # Freezing is looked up while dynamo traces and while inductor compiles, so it has to hold for
    # the first calls. As an option of the backend it also keeps the two compiled models from
    # sharing one graph.
    freezing = name == "frozen"
    compiled = torch.compile(model, dynamic=False, options={"freezing": freezing})
    with _inductor_config().patch(freezing=freezing), torch.no_grad():
        compiled(example)
        compiled(example)
    return compiled


def _inductor_config() -> Any:
    """Of torch's compiler, which is slow to import."""
    log = logging.getLogger("torch.utils.cpp_extension")
    log.addFilter(_worth_reading)
    try:
        import_module("torch.utils.cpp_extension")  # here, where it is quiet: compiling imports it
        from torch._inductor import config
    finally:
        log.removeFilter(_worth_reading)
    return config


def _worth_reading(record: logging.LogRecord) -> bool:
    """Drops the remark that CUDA's compiler is there and no GPU, of which nothing follows here."""
    return not record.getMessage().startswith("No CUDA runtime is found")


def _warm(model: Callable[[Tensor], Maps], x: Tensor) -> Run:
    """A run of the model on x that has already happened twice."""

    def run() -> Maps:
        with torch.no_grad():
            return model(x)

    run()
    run()
    return run

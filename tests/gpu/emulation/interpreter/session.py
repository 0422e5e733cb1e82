"""Runs `@triton.jit` kernels through the mended interpreter, in a process that compiles too.

Triton chooses between interpreter and compiler when a kernel is defined; here the choice is made
when it is launched, so the same imported kernels serve every rung.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import triton
from triton.runtime import interpreter
from triton.runtime.autotuner import Autotuner
from triton.runtime.errors import InterpreterError
from triton.runtime.interpreter import GridExecutor, InterpretedFunction, interpreter_builder
from triton.runtime.jit import JITFunction

from .arithmetic import REPAIRS
from .probe import Probe


@contextmanager
def interpreting() -> Iterator[Probe]:
    """Within it, `kernel[grid](cpu_tensors, ...)` is interpreted, checked and counted.

    A tile's iteration takes milliseconds: keep to about 64 programs. Masked lanes of a load
    without `other` read NaN or a large integer, `tl.device_assert` fires, autotuned kernels run
    every configuration.

    Raises, from the launch:
        ProbeError: for an access out of bounds or misaligned, and for races between programs.
        NotImplementedError: for reductions, scans and atomics of bf16 and fp8.
    """
    probe = Probe()
    with ExitStack() as stack:
        for owner, name, replacement in [*REPAIRS, *probe.hooks(), *_entry_points(probe)]:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        stack.enter_context(triton.knobs.runtime.scope())
        triton.knobs.runtime.interpret = True
        yield probe


def _entry_points(probe: Probe) -> list[tuple[Any, str, Any]]:
    execute = GridExecutor.__call__

    def run(kernel: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        if warmup:
            return
        grid = grid if callable(grid) else tuple(grid)
        try:
            InterpretedFunction(kernel.fn).run(*args, grid=grid, warmup=False, **kwargs)
        except InterpreterError as error:
            raise _cause(error) from error

    def call(function: JITFunction, *args: Any, **kwargs: Any) -> Any:
        """A kernel calls another jitted function, for example of `triton.language`."""
        kwargs.pop("_semantic", None)
        scope = interpreter._patch_lang(function.fn)
        try:
            return InterpretedFunction(function.fn).rewrite()(*args, **kwargs)
        finally:  # Upstream leaves the language patched here, and the compiler broken.
            scope.restore()

    def watched(executor: GridExecutor, *args: Any, **kwargs: Any) -> None:
        # Reinterpreted tensors and descriptors hold theirs in `base`.
        given = [getattr(arg, "base", arg) for arg in (*args, *kwargs.values())]
        probe.start_launch(given)
        execute(executor, *args, **kwargs)

    def benchmark(call: Any, quantiles: Any = None) -> list[float]:
        call()
        return [1.0, 1.0, 1.0]

    options = dataclasses.replace(interpreter_builder.options, debug=True)
    return [
        (JITFunction, "run", run),
        (JITFunction, "__call__", call),
        (GridExecutor, "__call__", watched),
        (interpreter_builder, "options", options),
        (Autotuner, "do_bench", property(lambda self: benchmark)),
    ]


def _cause(error: BaseException) -> BaseException:
    """What the kernel raised, under the interpreter's wrapping."""
    while isinstance(error, InterpreterError) and error.__cause__ is not None:
        error = error.__cause__
    return error

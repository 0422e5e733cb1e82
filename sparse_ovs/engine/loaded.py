"""An encoder read from a plan file, run by the C library alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs import _native
from sparse_ovs.engine.contract import check_input, check_rounds, check_threads
from sparse_ovs.engine.describe import StepRow, as_table, native_rows
from sparse_ovs.engine.planfile import decode_tree, upgrade_header
from sparse_ovs.formats import FileFormatError
from sparse_ovs.ops.layout import empty_output
from sparse_ovs.threads import get_num_threads


class LoadedPlan:
    """What runs for one input shape, step by step; `str` shows it, with times once measured."""

    def __init__(
        self,
        plan: _native.Plan,
        records: list[dict[str, Any]],
        in_shape: tuple[int, ...],
        out_shapes: list[tuple[int, int, int, int]],
        threads: int,
    ) -> None:
        self._plan, self._records, self._threads = plan, records, threads
        self._shapes = in_shape, out_shapes
        self._seconds: list[float | None] = [None] * len(records)

    def measure(self, rounds: int = 5) -> LoadedPlan:
        """Times every step on random input, and keeps the medians for `rows` and `str`.

        Args:
            rounds: runs to take the median of, after one that is not counted.

        Raises:
            ValueError: rounds below 1.
        """
        check_rounds(rounds)
        x = torch.randn(self._shapes[0])
        made = [empty_output(shape, torch.contiguous_format) for shape in self._shapes[1]]
        outputs = [t.data_ptr() for t in made]
        samples = [
            self._plan.time([x.data_ptr()], outputs, self._threads) for _ in range(rounds + 1)
        ]
        self._seconds = [median(step) for step in zip(*samples[1:], strict=True)]
        return self

    def rows(self) -> list[StepRow]:
        """What runs, in order."""
        return native_rows(self._plan.step_infos(), self._records, self._seconds, self._threads)

    def __str__(self) -> str:
        return as_table(self.rows())


class LoadedEncoder(nn.Module):
    """Runs an encoder's eval-mode forward without gradients, from a file.

    Takes (N, C, H, W) float32 on the CPU, of any size that the encoder takes: of the saved one's
    example alone, where its steps hold that size. Safe under concurrent
    calls. Results are those of the encoder that was saved, to the bit.

    Args:
        path: a file that CompiledEncoder.save wrote.
        threads: to run on; None follows get_num_threads at each call.

    Raises:
        RuntimeError: the native library cannot be used here.
        FileNotFoundError: no such file.
        FileFormatError: a damaged, foreign or newer file.
        ValueError: a thread count that is no such thing.
        TypeError, ValueError: at the call, for other input.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None) -> None:
        super().__init__()
        if reason := _native.unavailable_reason():
            raise RuntimeError(reason)
        check_threads(threads)
        if not Path(path).is_file():
            raise FileNotFoundError(f"expected a file, got none at {path}")
        self._threads = threads
        try:
            self._file = _native.EncoderFile(path)
            header = upgrade_header(json.loads(self._file.header))
            self._records: list[dict[str, Any]] = header["steps"]
            self._names: list[str] = header["outputs"]
            self._input, self._tree = header["inputs"][0]["name"], header["tree"]
            decode_tree(self._tree, dict.fromkeys([self._input, *self._names]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileFormatError(f"expected a plan file, got {path}: {error}") from error

    def forward(self, x: Tensor) -> Any:
        check_input(x, self._file.channels)
        given = x.detach().contiguous()
        n, _, h, w = x.shape
        made = [
            empty_output(shape, torch.contiguous_format)
            for shape in self._file.output_shapes(n, h, w)
        ]
        threads = self._threads or get_num_threads()
        outputs = [(t.data_ptr(), t.shape) for t in made]
        self._file.run(given.data_ptr(), (n, h, w), outputs, threads)
        return decode_tree(
            self._tree, {self._input: x, **dict(zip(self._names, made, strict=True))}
        )

    def plan_for(self, x: Tensor) -> LoadedPlan:
        """What runs for an input of this shape."""
        check_input(x, self._file.channels)
        n, _, h, w = x.shape
        threads = self._threads or get_num_threads()
        plan = self._file.plan(n, h, w, threads, len(self._records))
        shapes = self._file.output_shapes(n, h, w)
        return LoadedPlan(plan, self._records, tuple(x.shape), shapes, threads)

    def __deepcopy__(self, memo: dict[int, Any]) -> LoadedEncoder:
        # Nothing in here ever changes but the library's cache of plans, which may be shared.
        return self

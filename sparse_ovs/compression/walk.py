"""Runs two graphs of one encoder side by side, a node at a time for all images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from sparse_ovs.engine.graph import Graph, Node
from sparse_ovs.engine.in_torch import run_in_torch
from sparse_ovs.engine.weights import NativeConvWeights

# A layer's input by batch, in the dense and in the compressed encoder; the same tensors where
# nothing before it was changed.
Inputs = Sequence[tuple[Tensor, Tensor]]
# Is called before a layer runs; says whether the compressed one differs from now on.
Visit = Callable[[str, Inputs], bool]

_MEMORY = 3 << 30  # bytes of maps; what is more lies on the disk


def walk(
    dense: Graph,
    compressed: Graph,
    batches: Sequence[Tensor],
    layers: Mapping[str, str],
    visit: Visit,
    memory: int = _MEMORY,
) -> None:
    """Visits layers in the order in which they run, each once with all images.

    Every node runs once for each image and graph, and values are forgotten when nothing more reads
    them: what is held is the widest place of the encoder, times the images. Until something differs
    the graphs run as one.

    Args:
        dense, compressed: of the same structure; a visit may change the second one's weights.
        batches: images of the shape that was traced.
        layers: by the name of their node, those to visit; nothing runs after the last one.
        visit: called with the layer's name and its inputs.
        memory: bytes of maps that are held in memory.
    """
    left = dense.uses()
    changed: set[str] = set()
    waiting = set(layers)
    with _Maps(memory) as ours, _Maps(memory) as theirs, torch.no_grad():
        ours.put(dense.input, list(batches))
        for exact, node in zip(dense.nodes, compressed.nodes, strict=True):
            sources = node.sources()
            differs = any(name in changed for name in sources)
            if node.name in waiting:
                waiting.discard(node.name)
                first = ours.get(sources[0])
                other = theirs.get(sources[0]) if sources[0] in changed else first
                differs |= visit(layers[node.name], list(zip(first, other, strict=True)))
                del first, other
                if not waiting:
                    return
            ours.put(exact.name, [_run(exact, ours, number) for number in range(len(batches))])
            if differs:
                changed.add(node.name)
                made = [_run(node, theirs, number, ours) for number in range(len(batches))]
                theirs.put(node.name, made)
            for name in sources:
                left[name] -= 1
                if left[name] == 0:
                    ours.drop(name)
                    theirs.drop(name)


def _run(node: Node, maps: _Maps, number: int, otherwise: _Maps | None = None) -> Any:
    values = {}
    for name in node.sources():
        place = maps if otherwise is None or name in maps else otherwise
        values[name] = place.get(name)[number]
    return run_in_torch(node, values, NativeConvWeights())


class _Maps:
    """Values by name, one for each batch; beyond so many bytes they lie in files."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._values: dict[str, list[Any]] = {}
        self._held: dict[str, int] = {}  # bytes in memory
        self._files: dict[str, list[Path]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._numbers = count()

    def __enter__(self) -> _Maps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._values.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> list[Any]:
        return self._values[name]

    def put(self, name: str, values: list[Any]) -> None:
        size = sum(v.numel() * v.element_size() for v in values if isinstance(v, Tensor))
        if size and sum(self._held.values()) + size > self._memory:
            values = [self._on_disk(name, v) if isinstance(v, Tensor) else v for v in values]
            size = 0
        self._values[name], self._held[name] = values, size

    def drop(self, name: str) -> None:
        self._values.pop(name, None)
        self._held.pop(name, None)
        for path in self._files.pop(name, []):
            path.unlink()

    def _on_disk(self, name: str, value: Tensor) -> Tensor:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="sparse_ovs-maps-")
        files = self._files.setdefault(name, [])
        path = Path(self._folder.name, str(next(self._numbers)))
        made = torch.from_file(str(path), shared=True, size=value.numel(), dtype=value.dtype)
        made = made.reshape(value.shape)
        made.copy_(value)
        files.append(path)
        return made

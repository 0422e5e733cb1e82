"""The processes that share an evaluation: this one alone, or those that accelerate launched."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
import torch


class Processes(Protocol):
    """What an evaluation needs to know of the others.

    Attributes:
        index: of this process.
        count: of all.
    """

    index: int
    count: int

    def gather(self, counts: np.ndarray) -> np.ndarray:
        """int64 counts (K + 1, K) of this process -> (count, K + 1, K) of all, the same in each."""
        ...


class Alone:
    """One process."""

    index, count = 0, 1

    def gather(self, counts: np.ndarray) -> np.ndarray:
        """Its own counts."""
        return counts[None]


class Accelerated:
    """Those of `accelerate launch`, one a GPU or several on CPUs.

    Attributes:
        device: of this process.

    Raises:
        ImportError: accelerate is not installed.
    """

    def __init__(self) -> None:
        try:
            import accelerate
        except ImportError as error:
            raise ImportError(
                "expected accelerate, which runs an evaluation in several processes "
                "(pip install 'sparse_ovs[train]'), got no such package"
            ) from error
        state: Any = accelerate.PartialState(cpu=not torch.cuda.is_available())
        self.index, self.count = int(state.process_index), int(state.num_processes)
        self.device = torch.device(state.device)
        self._gather: Any = accelerate.utils.gather

    def gather(self, counts: np.ndarray) -> np.ndarray:
        """Counts of all processes, by way of the device that they talk through."""
        own = torch.from_numpy(counts)[None].to(self.device)
        return self._gather(own).cpu().numpy()


def launched() -> Processes:
    """The processes that this one was launched with.

    Raises:
        ImportError: there are several, and accelerate is not installed.
    """
    return Accelerated() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()

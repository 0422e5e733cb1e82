"""The processes that share a run or an evaluation: this one alone, or those that accelerate
launched."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Processes(Protocol):
    """What a run and an evaluation need to know of the others.

    Attributes:
        index: of this process.
        count: of all.
        device: of this process.
    """

    index: int
    count: int
    device: torch.device

    def gather(self, counts: np.ndarray) -> np.ndarray:
        """int64 counts (K + 1, K) of this process -> (count, K + 1, K) of all, the same in each."""
        ...

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, the same in each."""
        ...

    def wrap(self, module: nn.Module) -> nn.Module:
        """A module whose backward passes give the mean of all processes' gradients."""
        ...


class Alone:
    """One process."""

    index, count = 0, 1

    def __init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def gather(self, counts: np.ndarray) -> np.ndarray:
        """Its own counts."""
        return counts[None]

    def mean(self, values: Tensor) -> Tensor:
        """Its own values."""
        return values

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module itself."""
        return module


class Accelerated:
    """Those of `accelerate launch`, one a GPU or several on CPUs.

    Raises:
        ImportError: accelerate is not installed.
    """

    def __init__(self) -> None:
        try:
            import accelerate
        except ImportError as error:
            raise ImportError(
                "expected accelerate, which runs several processes together "
                "(pip install 'sparse_ovs[train]'), got no such package"
            ) from error
        state: Any = accelerate.PartialState(cpu=not torch.cuda.is_available())
        self.index, self.count = int(state.process_index), int(state.num_processes)
        self.device = torch.device(state.device)
        self._gather: Any = accelerate.utils.gather
        self._reduce: Any = accelerate.utils.reduce

    def gather(self, counts: np.ndarray) -> np.ndarray:
        """Counts of all processes, by way of the device that they talk through."""
        own = torch.from_numpy(counts)[None].to(self.device)
        return self._gather(own).cpu().numpy()

    def mean(self, values: Tensor) -> Tensor:
        """By way of the device that they talk through."""
        return self._reduce(values.to(self.device), "mean").to(values.device)

    def wrap(self, module: nn.Module) -> nn.Module:
        """DistributedDataParallel, which also waits for what a batch leaves without a gradient."""
        devices = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(module, device_ids=devices, find_unused_parameters=True)


def launched() -> Processes:
    """The processes that this one was launched with.

    Raises:
        ImportError: there are several, and accelerate is not installed.
    """
    return Accelerated() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()

"""The run's log for TensorBoard, where that is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping


class TensorBoardLog:
    """Writes scalars by step.

    Args:
        folder: of the event files.
        step: number of steps done; events of later steps, of a run that was killed, are hidden.

    Raises:
        ImportError: the package tensorboard is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "expected the package tensorboard for a TensorBoard log, got none: "
                "pip install tensorboard"
            ) from error
        self._writer = SummaryWriter(os.fspath(folder), purge_step=step + 1)

    def write(self, step: int, row: Mapping[str, int | float]) -> None:
        """Adds the scalars of a step."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Writes out what is pending."""
        self._writer.flush()

    def close(self) -> None:
        """Writes out what is pending, and closes the files."""
        self._writer.close()

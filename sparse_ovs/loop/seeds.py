"""Random numbers that can be had again: derived seeds, and the state of every generator."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def derive_seed(seed: int, *parts: int | str) -> int:
    """A seed in [0, 2^63) for one purpose, e.g. `derive_seed(seed, "epoch", 3)`; the same on every
    machine, and unrelated between different parts."""
    text = "/".join([str(seed), *(repr(part) for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def seed_everything(seed: int) -> None:
    """Seeds Python's, numpy's and torch's global generators, those of CUDA too."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """The states of the global generators, as plain types and tensors (see loop.encoding)."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state = {
        "python": random.getstate(),
        "numpy": (
            name,
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            position,
            has_gauss,
            gauss,
        ),
        "torch": torch.get_rng_state(),
    }
    # Asking would initialise CUDA; a process that has not done so has drawn nothing there.
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Puts `rng_state` back.

    Raises:
        ValueError: it is of more CUDA devices than there are.
    """
    devices = state.get("cuda", [])
    if len(devices) > torch.cuda.device_count():
        raise ValueError(
            f"expected random states of at most {torch.cuda.device_count()} CUDA devices, got "
            f"{len(devices)}: resume where the run began"
        )
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    for device, device_state in enumerate(devices):
        torch.cuda.set_rng_state(device_state, device)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the global generators of the CPU inside, and puts them back after."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.random.default_generator.manual_seed(seed)  # torch.manual_seed would reseed CUDA too
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)

"""Whether a tensor still holds what it held: by its memory and torch's counter of writes."""

from __future__ import annotations

import weakref
from collections.abc import Hashable

from torch import Tensor


def version_of(tensor: Tensor) -> tuple[Hashable, ...]:
    """Changes whenever the tensor's contents do through torch; inference tensors have no counter
    to ask."""
    # Not the address alone: a new tensor may lie where another was, with the same counter. A dead
    # reference equals no other.
    storage = weakref.ref(tensor.untyped_storage())
    return storage, tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version

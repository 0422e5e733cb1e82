"""What every sparse module holds beside its weight: mask, packed structure, reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.formats import MaskFit, fit_mask, pack

Engine = Literal["auto", "native", "dense"]
ENGINES = ("auto", "native", "dense")


def check_engine(engine: str) -> None:
    """Raises ValueError unless engine is "auto", "native" or "dense"."""
    if engine not in ENGINES:
        raise ValueError(f"expected engine 'auto', 'native' or 'dense', got {engine!r}")


class SparseWeight(nn.Module):
    """Mixin of a module with one masked `.weight`, dense with zeros.

    Buffers, none of them in the state_dict: `mask` (bool, of the weight's shape), `indices` and
    `row_ptr` (the packed structure, see formats.PackedWeight; 16-bit indices as int16 of the same
    bits). Loading a state_dict re-applies the mask.

    Attributes:
        pattern: spelling of the pattern the mask follows.
        engine: "auto", "native" or "dense", see `sparsify`.
        block_rows: of the packed structure.
        layer_name: the module's name in its model, for error messages.
    """

    weight: nn.Parameter
    mask: Tensor
    indices: Tensor
    row_ptr: Tensor

    def _init_sparse(self, mask: Tensor, pattern: str, engine: str, reason: str = "") -> None:
        check_engine(engine)
        self.pattern = pattern
        self.engine = engine
        self.layer_name = type(self).__name__
        self._engine_reason = reason
        self.register_buffer("mask", None, persistent=False)
        self.register_buffer("indices", None, persistent=False)
        self.register_buffer("row_ptr", None, persistent=False)
        self.set_mask(mask)

    def set_mask(self, mask: Tensor) -> None:
        """Replaces the mask: weights outside it become zero for good.

        Raises:
            TypeError: the mask is not bool.
            ValueError: it has another shape than the weight.
        """
        if mask.dtype != torch.bool:
            raise TypeError(f"expected a bool mask for {self.layer_name}, got {mask.dtype}")
        if mask.shape != self.weight.shape:
            raise ValueError(
                f"expected a mask of shape {tuple(self.weight.shape)} for {self.layer_name}, "
                f"got {tuple(mask.shape)}"
            )
        self.mask = mask.to(self.weight.device, copy=True)
        with torch.no_grad():
            self.weight.mul_(self.mask)
            packed = pack(
                self.weight.detach().float().cpu(),
                self.mask.cpu(),
                groups=getattr(self, "groups", 1),
            )
        indices = packed.indices
        if indices.dtype == torch.uint16:
            indices = indices.view(torch.int16)  # same bits: torch cannot pickle uint16
        self.indices = indices.to(self.weight.device)
        self.row_ptr = packed.row_ptr.to(self.weight.device)
        self.block_rows = packed.block_rows
        self.__dict__["_fit"] = None
        self._refresh_reason()

    @property
    def density(self) -> float:
        """Kept fraction of the weight."""
        return float(self.mask.sum()) / self.mask.numel()

    @property
    def fit(self) -> MaskFit:
        """How the mask fits the formats of GPUs; measured once."""
        if self.__dict__["_fit"] is None:
            self.__dict__["_fit"] = fit_mask(self.mask, ops.BLOCKS)
        return self.__dict__["_fit"]

    @property
    def reason(self) -> str:
        """Why forward runs dense; empty where it runs a sparse kernel."""
        return self._reasons[self.weight.dtype]

    @property
    def backend(self) -> str:
        """What runs forward: "dense", "native", or the route of the GPU where nothing was timed."""
        if self.reason:
            return "dense"
        if ops.family_of(self.weight.device) == "native":
            return "native"
        return ops.gpu_route(self.fit, self.weight.dtype, self.weight.dim())

    def run_dense(self, reason: str) -> None:
        """Makes forward run dense from here on, for the given reason."""
        self.engine, self._engine_reason = "dense", reason
        self._refresh_reason()

    def repack(self) -> None:
        """Takes up writes to the weight that bypassed torch's version counter (through `.data`)."""
        with torch.no_grad():
            self.weight.mul_(self.mask)
        ops.invalidate(self.indices)

    def packed_bytes(self) -> int:
        """Bytes of the weight in a file: packed, or as it is where nothing is pruned."""
        if bool(self.mask.all()):
            return 4 * self.mask.numel()  # stored dense
        blocks = self.indices.numel()
        return (
            blocks * (4 * self.block_rows + self.indices.element_size()) + self.row_ptr.numel() * 4
        )

    def _unsupported(self, dtype: torch.dtype) -> list[str]:
        """Why no kernel runs activations of this dtype."""
        raise NotImplementedError

    def _refresh_reason(self) -> None:
        """Settled here and not in forward, which torch.compile traces."""
        dtypes = {self.weight.dtype}
        if ops.family_of(self.weight.device) == "cuda":
            dtypes |= {torch.float16, torch.bfloat16}  # which autocast may ask for
        if self.engine == "dense":
            reason = self._engine_reason or "engine='dense' was asked for"
            self._reasons = dict.fromkeys(dtypes, reason)
        else:
            self._reasons = {dtype: "; ".join(self._unsupported(dtype)) for dtype in dtypes}

    def _masked_weight(self) -> Tensor:
        """Dense weight whose pruned places get no gradient."""
        return self.weight * self.mask

    def _runs_sparse(self, x: Tensor) -> bool:
        """A sparse kernel serves this call, training included; else the dense masked path."""
        if self._reasons.get(x.dtype, "another dtype"):
            return False
        return not (ops.family_of(x.device) == "native" and torch.is_autocast_enabled("cpu"))

    def _autocast(self, x: Tensor) -> Tensor:
        """The input in the dtype that autocast wants on a GPU."""
        kind = x.device.type
        if ops.family_of(x.device) == "cuda" and torch.is_autocast_enabled(kind):
            return x.to(torch.get_autocast_dtype(kind))
        return x

    def _check_input(self, x: Tensor) -> None:
        if x.device != self.weight.device:
            raise ValueError(
                f"expected input on {self.weight.device} for {self.layer_name}, got {x.device}"
            )
        if x.dtype != self.weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(
                f"expected {self.weight.dtype} input for {self.layer_name}, got {x.dtype}"
            )

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        result = super()._apply(fn, recurse)
        # New memory may lie where the old was, with the same version: only a fresh start is safe.
        ops.invalidate(self.indices)
        self._refresh_reason()
        return result

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        with torch.no_grad():
            if local_metadata.get("assign_to_params_buffers", False):
                # The parameter is now the caller's own tensor: it must not be written to.
                self.weight = nn.Parameter(
                    self.weight * self.mask.to(self.weight.device), self.weight.requires_grad
                )
            else:
                self.weight.mul_(self.mask)
        ops.invalidate(self.indices)
        self._refresh_reason()

    def extra_repr(self) -> str:
        backend = f"dense ({self.reason})" if self.reason else self.backend
        return (
            f"{super().extra_repr()}, pattern={self.pattern}, density={self.density:.4g}, {backend}"
        )


def adopt(module: nn.Module, source: nn.Module) -> None:
    """Gives a freshly made module (built without __init__) the state of the dense module it
    replaces.

    Parameters, buffers and hooks are the same objects, so optimisers that hold them go on working.
    """
    nn.Module.__init__(module)
    for key, value in source.__dict__.items():
        module.__dict__[key] = value.copy() if isinstance(value, dict) else value
    module._non_persistent_buffers_set = set(source._non_persistent_buffers_set)


def strip_sparse_state(module: nn.Module) -> None:
    """Takes what `_init_sparse` added from the state that a dense module adopted."""
    for name in ("mask", "indices", "row_ptr"):
        del module._buffers[name]
        module._non_persistent_buffers_set.discard(name)
    for name in (
        "pattern",
        "engine",
        "layer_name",
        "block_rows",
        "_engine_reason",
        "_reasons",
        "_fit",
        "_fold",
    ):
        module.__dict__.pop(name, None)

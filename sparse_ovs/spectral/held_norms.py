"""BatchNorm that keeps normalising by its running statistics, whatever `train` is told."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Held:
    """Mixin of the class that a held norm has for the time being; the norm stays one object, so
    whoever refers to it (a parent, a fold of a sparse convolution) need not be told."""

    _kind: type[_BatchNorm]
    _mode: bool

    def train(self, mode: bool = True) -> Any:
        result = super().train(mode)  # type: ignore[misc]  # children, such as a dropout, follow
        self._mode, self.training = mode, False
        return result

    def __reduce__(self) -> Any:
        # The class is made at run time, which pickle and deepcopy do not know.
        return _new, (self._kind,), self.__dict__


def hold(norm: _BatchNorm) -> bool:
    """Puts a norm in eval mode for good; False where it is held already."""
    if isinstance(norm, _Held):
        return False
    mode = norm.training
    norm.__class__ = _held_class(type(norm))
    norm.train(mode)
    return True


def release(norm: _BatchNorm) -> None:
    """Undoes `hold`; the norm is in the mode that it was last told."""
    assert isinstance(norm, _Held)
    norm.__class__ = norm._kind  # type: ignore[assignment]
    norm.train(norm.__dict__.pop("_mode"))


def norm_after(parent: nn.Module, name: str) -> _BatchNorm | None:
    """The BatchNorm that follows a convolution, if there is one.

    It is the convolution's own child (detectron2), what a sparse convolution has folded, or the
    next child of its parent, as in open_clip, torchvision, timm and nn.Sequential.
    """
    conv = parent._modules[name]
    assert isinstance(conv, nn.Conv2d)
    names = [key for key, child in parent._modules.items() if child is not None]
    after = [parent._modules[key] for key in names[names.index(name) + 1 :][:1]]
    fold = getattr(conv, "_fold", None)
    for norm in (*conv.children(), None if fold is None else fold.norm, *after):
        if isinstance(norm, _BatchNorm) and norm.num_features == conv.out_channels:
            return norm
    return None


_classes: dict[type[_BatchNorm], type[_BatchNorm]] = {}


def _held_class(kind: type[_BatchNorm]) -> type[_BatchNorm]:
    if kind not in _classes:
        _classes[kind] = type(f"Held{kind.__name__}", (_Held, kind), {"_kind": kind})
    return _classes[kind]


def _new(kind: type[_BatchNorm]) -> _BatchNorm:
    made = _held_class(kind)
    return made.__new__(made)

"""Folds an eval-mode BatchNorm and the ReLU after it into the sparse convolution before."""

from __future__ import annotations

import re

import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.nn.batch_norm import NativeBatchNorm2d


class FoldedNorm(nn.Identity):
    """Stands where a folded BatchNorm stood: passes its input on and keeps the BatchNorm's
    state_dict keys.

    Parameters and buffers are the BatchNorm's own, in its own dicts, so loading and `.to()` reach
    both.
    """

    _version = 2  # BatchNorm's, as state_dicts record it

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self._parameters = norm._parameters
        self._buffers = norm._buffers
        self._non_persistent_buffers_set = norm._non_persistent_buffers_set


class Fold:
    """One convolution's fold: what was folded, where it stood, and whether the fold is in force.

    In eval mode the parent's attributes are identities; in training mode the originals are back.
    """

    def __init__(self, parent: nn.Module, norm_name: str, act_name: str | None) -> None:
        self.parent = parent
        self.norm_name, self.act_name = norm_name, act_name
        norm = parent._modules[norm_name]
        assert isinstance(norm, nn.BatchNorm2d)
        self.norm = norm
        self.act = None if act_name is None else parent._modules[act_name]
        # timm's BatchNormAct2d applies its own activation.
        self.relu = self.act is not None or isinstance(getattr(norm, "act", None), nn.ReLU)
        self.active = False

    def set_active(self, active: bool) -> None:
        """Puts identities (True) or the originals (False) in the parent."""
        self.active = active
        self.norm.train(not active)
        self.parent._modules[self.norm_name] = FoldedNorm(self.norm) if active else self.norm
        if self.act_name is not None:
            self.parent._modules[self.act_name] = nn.Identity() if active else self.act

    def norm_tensors(self) -> list[Tensor]:
        """[gamma, beta, running_mean, running_var], each (O,)."""
        norm = self.norm
        return [norm.weight, norm.bias, norm.running_mean, norm.running_var]  # type: ignore[list-item]

    def apply(self, y: Tensor) -> Tensor:
        """The folded modules on a dense convolution's output."""
        gamma, beta, mean, var = self.norm_tensors()
        y = F.batch_norm(y, mean, var, gamma, beta, False, 0.0, self.norm.eps)
        return F.relu(y) if self.relu else y


def find_fold(parent: nn.Module, conv_name: str, out_channels: int) -> Fold | None:
    """The BatchNorm (and ReLU) that certainly follow a convolution, by one of three shapes of
    parent.

    - nn.Sequential: the next modules in order.
    - `conv` with `bn` (timm's ConvNormAct; its activation lies inside `bn`).
    - `convN` whose next sibling is `bnN` (open_clip, torchvision, timm). A ReLU `actN` is folded
      only where it comes next and `convN+1` exists or a pooling follows: the last activation of a
      residual block follows the addition, and a single `relu` for several convolutions is not told
      apart.
    """
    names = [name for name, child in parent._modules.items() if child is not None]
    after = names[names.index(conv_name) + 1 :]
    if not after:
        return None
    norm_name, act_name = after[0], None
    if isinstance(parent, nn.Sequential):
        if len(after) > 1 and type(parent._modules[after[1]]) is nn.ReLU:
            act_name = after[1]
    elif match := re.fullmatch(r"conv(\d*)", conv_name):
        number = match[1]
        if norm_name != f"bn{number}":
            return None
        if number and len(after) > 1 and after[1] == f"act{number}":
            followed = f"conv{int(number) + 1}" in after or _is_pool(parent, after[2:3])
            if followed and type(parent._modules[after[1]]) is nn.ReLU:
                act_name = after[1]
    else:
        return None
    if not _can_fold(parent._modules[norm_name], out_channels):
        return None
    return Fold(parent, norm_name, act_name)


def _is_pool(parent: nn.Module, names: list[str]) -> bool:
    """The stem of a CLIP ResNet ends in a pooling, a residual block does not."""
    return bool(names) and isinstance(parent._modules[names[0]], (nn.AvgPool2d, nn.MaxPool2d))


def _can_fold(norm: nn.Module | None, out_channels: int) -> bool:
    """A BatchNorm with running statistics and affine parameters, followed inside by nothing but
    a ReLU."""
    if not isinstance(norm, nn.BatchNorm2d) or norm.num_features != out_channels:
        return False
    if norm.running_mean is None or norm.weight is None:
        return False
    if type(norm) in (nn.BatchNorm2d, NativeBatchNorm2d):
        return True
    inner = [child for child in norm.children() if not isinstance(child, nn.Identity)]
    known = hasattr(norm, "act") and hasattr(norm, "drop")
    return known and all(type(child) is nn.ReLU for child in inner)

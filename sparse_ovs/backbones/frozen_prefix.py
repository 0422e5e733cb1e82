"""The frozen beginning of a ResNet trunk, run as a plan while the rest learns."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from sparse_ovs import _native
from sparse_ovs.backbones.prefix import Depth, PrefixReport
from sparse_ovs.backbones.resnet import ResNetTrunk
from sparse_ovs.engine import CompiledEncoder
from sparse_ovs.nn import densify

_STEM = [f"{kind}{number}" for number in (1, 2, 3) for kind in ("conv", "bn", "act")]


class FrozenPrefix:
    """Everything before a trunk's first parameter that learns or BatchNorm that normalises by the
    batch: pieces whose backward nobody needs, and whose forward is that of eval mode.

    In a forward with gradients, a float32 one on the CPU, they run as the engine's plan of their
    weights, zeros left out; all conditions are looked at in every forward, so the prefix follows
    what is frozen and thawed. Otherwise they run in torch as ever, where autograd builds no graph
    for them either. Values differ by rounding, since BatchNorm is folded.

    The first forward makes the plan, and times its layers unless SPARSE_OVS_AUTOTUNE=0. It holds a
    second copy of the prefix's weights; a change of them in place, or by a load, makes a new one.
    What is written through `.data` is not seen; `forget` helps.

    Args:
        trunk: whose `prefix` this becomes.
    """

    def __init__(self, trunk: ResNetTrunk) -> None:
        self._trunk = trunk
        self._reason = "no forward with gradients yet"
        self.forget()

    def forget(self) -> None:
        """Drops the plan; the next forward makes a new one."""
        self._plan: CompiledEncoder | None = None
        self._plain: ResNetTrunk | None = None
        self._depth: Depth | None = None  # of the plan, or of the one that could not be made
        self._failure = ""
        self._versions: list[tuple[int, int]] = []

    def report(self) -> PrefixReport:
        """What is frozen now, and how it ran last."""
        depth, ends_at = self.depth()
        pieces = [] if depth is None else ["stem", *_stages(self._trunk, depth)]
        reason = self._reason if pieces else ends_at
        return PrefixReport(tuple(pieces), ends_at, not reason, reason)

    def depth(self) -> tuple[Depth | None, str]:
        """How far the prefix reaches now (None: not past the stem), and what it ends at."""
        trunk = self._trunk
        for name in _STEM:
            if found := _alive(getattr(trunk, name), name):
                return None, found
        stages = trunk.stages()[: trunk.out_indices[-1]]
        for index, (name, stage) in enumerate(stages):
            for block, (number, module) in enumerate(stage.named_children()):
                if found := _alive(module, f"{name}.{number}"):
                    return Depth(index, block), found
        return Depth(len(stages), 0), ""

    def run(self, x: Tensor) -> tuple[Tensor, list[Tensor], Depth] | None:
        """The prefix's value, the trunk's maps inside it, and how far it reaches; None where the
        trunk has to run in torch.

        Args:
            x: the image, (N, 3, H, W).
        """
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return None  # traced as it is, and a whole encoder has `compile` for that
        depth, _ = self.depth()
        if depth is None:
            return None
        self._reason = self._unsupported(x, depth)
        if self._reason:
            return None
        plan = self._current_plan(x, depth)
        if plan is None:
            return None
        maps = plan(x)
        x = maps[-1]
        if _last_feature(depth) not in _inside(self._trunk, depth):
            maps = maps[:-1]
        if depth == Depth(0, 0):
            x = self._trunk.avgpool(x)
        return x, maps, depth

    def _unsupported(self, x: Tensor, depth: Depth) -> str:
        if reason := _native.unavailable_reason():
            return reason
        if x.device.type != "cpu" or x.dtype != torch.float32 or x.dim() != 4:
            return f"plans take float32 images on the CPU, not {x.dtype} on {x.device}"
        if torch.is_autocast_enabled("cpu"):
            return "plans have no autocast"
        if x.requires_grad:
            return "the image needs a gradient"
        for name, module in _modules(self._trunk, depth):
            if module._forward_hooks or module._forward_pre_hooks:
                return f"{name} has hooks, which a plan would not call"
        return ""

    def _current_plan(self, x: Tensor, depth: Depth) -> CompiledEncoder | None:
        versions = [(t._version, t.data_ptr()) for t in _state(self._trunk, depth).values()]
        # Masks are applied after every step, which changes versions and nothing else.
        same = self._versions == versions or (self._depth == depth and self._same_values(depth))
        if self._depth != depth or not same:
            self.forget()
        if self._depth is None:
            self._depth, self._plain = depth, _beginning(self._trunk, depth)
            try:
                self._plan = CompiledEncoder(self._plain, torch.zeros(x.shape), None)
            except Exception as error:  # of torch.export, which raises all kinds; torch runs it
                self._failure = f"no plan could be made: {error}"
        self._versions = versions
        self._reason = self._failure
        return self._plan

    def _same_values(self, depth: Depth) -> bool:
        assert self._plain is not None
        own = self._plain.state_dict()
        return all(torch.equal(t, own[name]) for name, t in _state(self._trunk, depth).items())

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the trunk makes its own plan; one that is pickled cannot take it along.
        return self.__dict__ | {"_plan": None, "_plain": None, "_depth": None}


def _alive(module: nn.Module, name: str) -> str:
    """What of a module learns or depends on the batch, by name; empty if nothing does."""
    for key, parameter in module.named_parameters():
        if parameter.requires_grad:
            return f"{name}.{key}, which learns"
    for key, child in module.named_modules():
        if child.training and isinstance(child, (_BatchNorm, _DropoutNd)):
            return f"{f'{name}.{key}'.rstrip('.')}, which is in training mode"
    return ""


def _stages(trunk: ResNetTrunk, depth: Depth) -> dict[str, nn.Module]:
    """Whole stages and the blocks of the next, by name."""
    names = trunk.stages()
    found = dict[str, nn.Module](names[: depth.stages])
    if depth.blocks:
        name, stage = names[depth.stages]
        found |= {
            f"{name}.{key}": child for key, child in [*stage.named_children()][: depth.blocks]
        }
    return found


def _modules(trunk: ResNetTrunk, depth: Depth) -> Iterator[tuple[str, nn.Module]]:
    """Every module whose call the plan takes the place of."""
    children = {name: getattr(trunk, name) for name in [*_STEM, "avgpool"]}
    children |= _stages(trunk, depth)
    if depth.blocks:  # the stage is not called as a whole
        name, stage = trunk.stages()[depth.stages]
        yield name, stage
    for name, child in children.items():
        for key, module in child.named_modules():
            yield f"{name}.{key}" if key else name, module


def _state(trunk: ResNetTrunk, depth: Depth) -> dict[str, Tensor]:
    roots = {name: getattr(trunk, name) for name in _STEM} | _stages(trunk, depth)
    found: dict[str, Tensor] = {}
    for name, module in roots.items():
        module.state_dict(destination=found, prefix=f"{name}.", keep_vars=True)
    return found


def _inside(trunk: ResNetTrunk, depth: Depth) -> list[int]:
    """The maps that are taken inside the prefix."""
    return [index for index in trunk.out_indices if index <= depth.stages]


def _last_feature(depth: Depth) -> int:
    return depth.stages + (depth.blocks > 0)


def _beginning(trunk: ResNetTrunk, depth: Depth) -> ResNetTrunk:
    """A plain copy in eval mode that ends with the prefix: its last map is the prefix's value."""
    # CLIP's other parts are no part of it, and large.
    made: Any = copy.deepcopy(trunk, {id(trunk.clip): trunk.clip})
    made.prefix = None
    made = densify(made).eval()
    last = _last_feature(depth)
    made.out_indices = tuple(dict.fromkeys([*_inside(trunk, depth), last]))
    for index, (name, _) in enumerate(trunk.stages(), 1):
        if index > last:
            delattr(made, name)
        elif index > depth.stages:
            setattr(made, name, getattr(made, name)[: depth.blocks])
    return made

"""In-place swap of a model's layers for sparse ones, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.nn.attention import SparseMultiheadAttention
from sparse_ovs.nn.batch_norm import NativeBatchNorm2d
from sparse_ovs.nn.conv import SparseConv2d
from sparse_ovs.nn.eligible import Candidate, Exclude, candidates
from sparse_ovs.nn.fast_path import close_fast_paths, open_fast_paths
from sparse_ovs.nn.fold import find_fold
from sparse_ovs.nn.linear import SparseLinear
from sparse_ovs.nn.measure import LayerRun, record_runs, slower_than_dense
from sparse_ovs.nn.pool import NativeAvgPool2x2
from sparse_ovs.nn.prune_import import resolve_pruned
from sparse_ovs.nn.report import LayerReport, SparsifyReport
from sparse_ovs.nn.settle import settle
from sparse_ovs.nn.structure import SparseWeight, check_engine
from sparse_ovs.nn.torch_conv import jumps_over_padding
from sparse_ovs.patterns import check_density, parse_pattern

# Above these densities the dense kernels of torch are expected to win, where nothing was measured:
# a sparse kernel does about half the FLOPs a second of a dense one, with blocks of 4 about four
# fifths.
_DENSE_ABOVE = {1: 0.5, 4: 0.8}


def sparsify(
    model: nn.Module,
    pattern: str = "unstructured",
    density: float | Mapping[str, float] | None = 0.1,
    exclude: Exclude = (),
    engine: str = "auto",
    fold_bn: bool | str = False,
    example_input: Any = None,
    *,
    masks: Mapping[str, Tensor] | None = None,
) -> SparsifyReport:
    """Replaces the model's Conv2d, Linear and MultiheadAttention modules by sparse ones, in place.

    Parameters stay the same objects under the same names, with zeros written into `.weight`. A
    second call with the same arguments changes nothing.

    Args:
        model: any module; a layer itself cannot be replaced in place, only children can.
        pattern: "unstructured", "blockRxC", "n:m" or "channel".
        density: kept fraction of each layer; by layer name (layers not named stay as they are);
            None takes the zeros that are already there (and `weight_orig`/`weight_mask` pairs and
            parametrizations).
        exclude: names, globs ("visual.attnpool.*") or module types to leave alone.
        engine: what runs a layer: "native" a sparse kernel wherever the device has one, "dense"
            always torch, "auto" a sparse kernel where it is expected to be faster, or with
            `example_input` where it was measured to be, and for the convolutions that torch may
            crash on (see `jumps_over_padding`). It has nothing to do with the package
            `sparse_ovs.engine`, which compiles whole encoders.
        fold_bn: "eval" (or True) folds a BatchNorm and ReLU that follow a swapped convolution while
            in eval mode, also behind convolutions that nothing prunes, and runs 2x2 average
            poolings, and BatchNorms in training, native.
        example_input: a tensor, or a tuple of arguments, for the model: each layer is timed on what
            reaches it.
        masks: by layer name, instead of magnitude masks ("<name>.in_proj" and "<name>.out_proj" for
            attention).

    Returns:
        A report with one entry for each eligible layer and the reason where it stayed dense.

    Raises:
        ValueError, TypeError: an argument out of its range, a mask of the wrong shape, a name that
            is no layer.
    """
    spelling = str(parse_pattern(pattern))
    check_engine(engine)
    if fold_bn not in (False, True, "eval"):
        raise ValueError(f"expected fold_bn False, True or 'eval', got {fold_bn!r}")
    if isinstance(density, Mapping):
        for value in density.values():
            check_density(value)
    elif density is not None:
        check_density(density)

    found = list(candidates(model, exclude))
    _check_names(found, density if isinstance(density, Mapping) else {}, masks or {})
    for candidate in found:
        if not candidate.reason:
            resolve_pruned(candidate.module)
            settle(candidate, spelling, density, masks or {}, engine)
    if fold_bn:
        _take_in_dense_convs(model, found, engine)
    _put_in_place(model, found)
    close_fast_paths(model)
    if fold_bn:
        _swap_norms_and_pools(model)
        _fold(model)
    runs = {} if example_input is None else record_runs(model, found, example_input)
    if engine == "auto":
        for candidate in found:
            _leave_dense_where_slower(candidate, runs.get(candidate.name))
    return SparsifyReport([_report(c, runs.get(c.name)) for c in found])


def densify(model: nn.Module) -> nn.Module:
    """Undoes `sparsify`: plain torch modules with the zeros in their weights, BatchNorm and ReLU
    back in place."""
    for module in list(model.modules()):
        if isinstance(module, SparseConv2d) and module._fold is not None:
            module._fold.set_active(False)
            module._fold.norm.train(module.training)
    replaced: dict[int, nn.Module] = {}
    for parent in list(model.modules()):
        if isinstance(parent, SparseMultiheadAttention):
            continue  # its projections go with it
        for name, child in parent._modules.items():
            if isinstance(child, (SparseConv2d, SparseLinear, SparseMultiheadAttention)):
                if id(child) not in replaced:
                    replaced[id(child)] = child.to_dense()
                parent._modules[name] = replaced[id(child)]
            elif isinstance(child, (NativeAvgPool2x2, NativeBatchNorm2d)):
                parent._modules[name] = child.to_torch()
    open_fast_paths(model)
    return model


def _check_names(
    found: list[Candidate], density: Mapping[str, float], masks: Mapping[str, Tensor]
) -> None:
    known = set()
    for candidate in found:
        known.add(candidate.name)
        if candidate.kind == "attention":
            known |= {f"{candidate.name}.in_proj", f"{candidate.name}.out_proj"}
    for name in (*density, *masks):
        if name not in known:
            raise ValueError(f"expected the names of eligible layers, got {name!r}")


def _put_in_place(model: nn.Module, found: list[Candidate]) -> None:
    """A module that stands in several places is replaced in all of them."""
    originals = dict(model.named_modules())
    twins = {
        id(originals[c.name]): c.module
        for c in found
        if c.name and originals[c.name] is not c.module
    }
    for candidate in found:
        if not candidate.name and candidate.module is not model:
            raise ValueError(
                "expected a model whose children can be replaced, got a single layer: "
                f"use {type(candidate.module).__name__}.from_dense"
            )
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is not None and id(child) in twins:
                parent._modules[name] = twins[id(child)]


def _take_in_dense_convs(model: nn.Module, found: list[Candidate], engine: str) -> None:
    """Convolutions that nothing prunes, but whose BatchNorm folds: the native kernel runs them with
    all of their weights, where that is faster."""
    for candidate in found:
        conv = candidate.module
        if not candidate.untouched or type(conv) is not nn.Conv2d or not candidate.name:
            continue
        parent, _, name = candidate.name.rpartition(".")
        if find_fold(model.get_submodule(parent), name, conv.out_channels) is not None:
            everything = torch.ones_like(conv.weight, dtype=torch.bool)
            candidate.module = SparseConv2d.from_dense(conv, everything, "unstructured", engine)
            candidate.module.layer_name = candidate.name
            candidate.reason, candidate.untouched = "", False


def _fold(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, SparseConv2d) and child._fold is None:
                fold = find_fold(parent, name, child.out_channels)
                if fold is not None:
                    child.__dict__["_fold"] = fold
                    fold.set_active(not child.training)


def _swap_norms_and_pools(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            for kind in (NativeAvgPool2x2, NativeBatchNorm2d):
                if child is not None and kind.fits(child):
                    parent._modules[name] = kind.from_torch(child)  # type: ignore[arg-type]


def _parts(module: nn.Module) -> list[SparseWeight]:
    if isinstance(module, SparseMultiheadAttention):
        return [module.in_proj, module.out_proj]
    return [module] if isinstance(module, SparseWeight) else []


def _leave_dense_where_slower(candidate: Candidate, run: LayerRun | None) -> None:
    parts = _parts(candidate.module)
    if not parts or any(part.reason for part in parts):
        return
    if isinstance(candidate.module, SparseConv2d) and jumps_over_padding(candidate.module):
        return  # whatever the time: torch may not survive it
    if run is not None:
        reason = slower_than_dense(candidate.module, run)
        if reason:
            for part in parts:
                part.run_dense(reason)
        return
    for part in parts:
        limit = _DENSE_ABOVE[part.block_rows]
        if part.density > limit:
            part.run_dense(f"dense is expected to be faster above density {limit}")


def _report(candidate: Candidate, run: LayerRun | None) -> LayerReport:
    parts = _parts(candidate.module)
    if parts:
        kept = sum(int(part.mask.sum()) for part in parts)
        total = sum(part.mask.numel() for part in parts)
        packed = sum(part.packed_bytes() for part in parts)
        reason = next((part.reason for part in parts if part.reason), "")
        density, pattern = kept / total, parts[0].pattern
        shape = tuple(parts[0].weight.shape)
    else:
        weight = getattr(candidate.module, "weight", None)
        if weight is None:  # attention
            weight = candidate.module.in_proj_weight
            if weight is None:
                weight = candidate.module.q_proj_weight
        total = weight.numel()
        if candidate.kind == "attention":
            total += candidate.module.out_proj.weight.numel()
        packed, reason, pattern = 4 * total, candidate.reason, ""
        density = float((weight.detach() != 0).double().mean())
        shape = tuple(weight.shape)
    return LayerReport(
        name=candidate.name,
        kind=candidate.kind,
        shape=shape,
        pattern=pattern,
        density=density,
        backend="dense" if reason else parts[0].backend,
        reason=reason,
        macs=None if run is None else run.macs,
        bytes_dense=4 * total,
        bytes_sparse=packed,
    )

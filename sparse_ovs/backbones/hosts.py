"""Where the image encoder stands inside other people's models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from sparse_ovs.backbones.layer_names import canonical_name
from sparse_ovs.nn.named_weights import weight_owners

# Dotted path of the encoder in each kind of host; "" is the model itself.
_PLACES = (
    ("fc-clip", "backbone.clip_model.visual"),
    ("fc-clip's backbone", "clip_model.visual"),
    ("torchvision or OpenTrans", "backbone"),
    ("open_clip", "visual"),
    ("smp", "encoder"),
    ("transformers' CLIP", "vision_model"),
    ("transformers' CLIPSeg", "clip.vision_model"),
    ("transformers' Mask2Former", "model.pixel_level_module.encoder"),
    ("transformers' Mask2Former without its head", "pixel_level_module.encoder"),
    ("timm or an encoder", ""),
)
# What pruning covers, by canonical name: no stem, no attention pool, no head.
_RESNET = re.compile(r"layer[1-4]\.\d+\..+")
_SCOPE = (
    _RESNET,
    re.compile(r"transformer\.resblocks\.\d+\..+"),
    re.compile(r"encoder\.layers\.\d+\.(?:self_attn|mlp)\..+"),  # transformers' ViTs
    re.compile(r"encoder\.layers\.\d\.blocks\.\d+\..+"),  # and Swins
    re.compile(r"stages\.\d\.(?:blocks|downsample)\..+"),
)
_FAMILIES = "a ResNet, a CLIP ViT, a ConvNeXt or a Swin"


@dataclass(frozen=True)
class Encoder:
    """An image encoder inside a model.

    Attributes:
        host: the kind of model that keeps it there.
        path: dotted name of the encoder in the model; "" where it is the model.
        family: "ResNet", "ViT", "ConvNeXt" or "Swin".
        module: the encoder.
        scope: names, in the encoder, of the weights that pruning covers.
    """

    host: str
    path: str
    family: str
    module: nn.Module
    scope: tuple[str, ...]


def find_encoder(model: nn.Module, path: str | None = None) -> Encoder:
    """The one image encoder of a model: a ResNet (CLIP's, or another), a CLIP ViT, a ConvNeXt or a
    Swin of transformers.

    Args:
        model: of fc-clip, OpenTrans, open_clip, smp, torchvision, timm or transformers, or an
            encoder; modules that hold nothing but another one (DataParallel, adapters) are looked
            through.
        path: dotted name of the encoder, where the model is none of these or holds several.

    Raises:
        ValueError: no encoder, several, or none at the path.
    """
    if path is not None:
        return _at_path(model, path)
    found: dict[int, Encoder] = {}
    start, root = _look_through("", model)
    for host, place in _PLACES:
        encoder = _encoder(host, _join(start, place), root, place)
        if encoder is not None:
            found.setdefault(id(encoder.module), encoder)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        several = " and ".join(f"{one.path or 'itself'} ({one.host})" for one in found.values())
        raise ValueError(
            f"expected a model with one image encoder, got {type(model).__name__} with {several}: "
            "name one with encoder=..."
        )
    places = ", ".join(f"{place or 'the model itself'} ({host})" for host, place in _PLACES)
    raise ValueError(
        f"expected a model with an image encoder ({_FAMILIES}) at one of {places}, got "
        f"{type(model).__name__} with {_children(root)}: name the encoder with encoder=..., or "
        "use sparse_ovs.sparsify"
    )


def _at_path(model: nn.Module, path: str) -> Encoder:
    try:
        model.get_submodule(path)
    except AttributeError:
        raise ValueError(
            f"expected the dotted name of a module, got {path!r} in {type(model).__name__} with "
            f"{_children(model)}"
        ) from None
    encoder = _encoder("the place that was named", path, model, path)
    if encoder is None:
        raise ValueError(
            f"expected {_FAMILIES}, got {type(model.get_submodule(path)).__name__} at {path!r}: "
            "use sparse_ovs.sparsify"
        )
    return encoder


def _encoder(host: str, path: str, root: nn.Module, place: str) -> Encoder | None:
    try:
        module = root.get_submodule(place)
    except AttributeError:
        return None
    path, module = _look_through(path, module)
    family = _family(module)
    scope = tuple(_scope(module))
    if not family or not scope:
        return None
    return Encoder(host, path, family, module, scope)


def _look_through(path: str, module: nn.Module) -> tuple[str, nn.Module]:
    """Down to a module that is an encoder or has several children."""
    while not _family(module):
        children = list(module.named_children())
        if len(children) != 1:
            break
        path, module = _join(path, children[0][0]), children[0][1]
    return path, module


def _family(module: nn.Module) -> str:
    """By the names of the children, which hosts and checkpoints rely on too."""
    children = dict(module.named_children())
    if {"layer1", "layer2"} <= children.keys():
        return "ResNet"
    if "conv1" in children and hasattr(children.get("transformer"), "resblocks"):
        return "ViT"
    if family := _family_of_transformers(children):
        return family
    trunk = children["trunk"] if {"trunk", "head"} <= children.keys() else module
    parts = {name.partition("_")[0] for name, _ in trunk.named_children()}
    if {"stem", "stages"} <= parts:
        names = [canonical_name(name) for name in weight_owners(trunk)]
        return "ResNet" if any(_RESNET.fullmatch(name) for name in names) else "ConvNeXt"
    return ""


def _family_of_transformers(children: Mapping[str, nn.Module]) -> str:
    """A Swin's backbone has the model as `swin` beside the norms of its maps, or is the model."""
    if "swin" in children:
        children = dict(children["swin"].named_children())
    embeddings, encoder = children.get("embeddings"), children.get("encoder")
    if "embedder" in children and hasattr(encoder, "stages"):
        return "ResNet"
    if hasattr(encoder, "layers"):
        if hasattr(embeddings, "patch_embedding"):  # a text tower embeds tokens
            return "ViT"
        if hasattr(embeddings, "patch_embeddings"):
            return "Swin"
    return ""


def _scope(module: nn.Module) -> Iterator[str]:
    for name, (owner, _) in weight_owners(module).items():
        if isinstance(owner, nn.Conv2d) and owner.groups > 1:
            continue
        canonical = canonical_name(name)
        if any(kind.fullmatch(canonical) for kind in _SCOPE):
            yield name


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _children(module: nn.Module) -> str:
    names = [name for name, _ in module.named_children()]
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"the children {shown}" if names else "no children"

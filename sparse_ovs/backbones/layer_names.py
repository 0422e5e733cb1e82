"""One name for a layer of an image encoder, whatever framework holds it, and back."""

from __future__ import annotations

import re
from collections.abc import Callable

from sparse_ovs.formats import bare_key

# Frameworks put their own path before the encoder's names: "module.backbone.clip_model.visual.".
_PATH = r"(?:.*\.)?"
_RESNET = re.compile(_PATH + r"(layer[1-4]\.\d+\.(?:conv[123]|downsample\.0))")
_RESNET_TIMM = re.compile(_PATH + r"stages[._](\d)\.(\d+)\.(conv[123]_\w+|shortcut\.conv)\.conv")
# So short a name means a stem only where it stands alone or directly in the image tower, which
# OpenTrans calls "backbone".
_STEM = re.compile(rf"(?:{_PATH}(?:visual|backbone)\.)?(conv[123])")
_STEM_TIMM = re.compile(_PATH + r"stem[._](conv[123])\.conv")
_VIT = re.compile(
    _PATH + r"(transformer\.resblocks\.\d+\.(?:attn\.(?:in|out)_proj|mlp\.c_(?:fc|proj)))"
)
_CONVNEXT = re.compile(_PATH + r"stages[._](\d\.(?:blocks|downsample)\..+)")

# Hugging Face's transformers: ResNets, CLIP's vision tower and Swins. Text towers and decoders have
# layers of the same names, so those of a ViT count below "vision_model" alone.
_RESNET_HF = re.compile(
    _PATH + r"encoder\.stages\.(\d)\.layers\.(\d+)\.(?:layer\.([012])|shortcut)\.convolution"
)
_VIT_HF = re.compile(_PATH + r"vision_model\.(encoder\.layers\.\d+\.(?:self_attn|mlp)\..+)")
_SWIN_HF = re.compile(_PATH + r"(encoder\.layers\.\d\.blocks\.\d+\..+)")

_TIMM_CONVS = {
    "conv1_1x1": "conv1",
    "conv2_kxk": "conv2",
    "conv3_1x1": "conv3",
    "shortcut.conv": "downsample.0",
}
_CONVS_TIMM = {ours: theirs for theirs, ours in _TIMM_CONVS.items()}


def canonical_name(name: str) -> str:
    """The name of a layer in this project's backbones: open_clip's within the image tower
    (`layer1.0.conv1`, `transformer.resblocks.0.attn.in_proj`), timm's for ConvNeXts
    (`stages.0.blocks.0.mlp.fc1`).

    Knows open_clip, timm's `resnet50_clip` (whole or `features_only`), fc-clip, OpenTrans, the
    ResNets of transformers, and any path before their names. Transformers' CLIP and Swin split
    what open_clip has in one matrix, and keep their own names within the encoder
    (`encoder.layers.0.self_attn.q_proj`, `encoder.layers.0.blocks.0.mlp.fc1`). A name of nothing
    known comes back as it is, but for the prefixes of DataParallel and torch.compile.
    """
    name = bare_key(name)
    for pattern in (_RESNET, _VIT, _STEM, _STEM_TIMM, _VIT_HF, _SWIN_HF):
        if found := pattern.fullmatch(name):
            return found[1]
    if (found := _RESNET_TIMM.fullmatch(name)) and found[3] in _TIMM_CONVS:
        return f"layer{int(found[1]) + 1}.{found[2]}.{_TIMM_CONVS[found[3]]}"
    if found := _RESNET_HF.fullmatch(name):
        conv = "downsample.0" if found[3] is None else f"conv{int(found[3]) + 1}"
        return f"layer{int(found[1]) + 1}.{found[2]}.{conv}"
    if found := _CONVNEXT.fullmatch(name):
        return f"stages.{found[1]}"
    return name


def framework_name(name: str, names: str) -> str:
    """The name that a framework gives to the layer of a canonical name.

    Args:
        names: "backbone" (this project's, and OpenTrans's), "open_clip" (from the whole CLIP model
            on), "timm", "timm_features" (under `features_only`), or "fc-clip" (from the whole
            segmentation model on).

    Raises:
        ValueError: another framework, or a layer that the framework has no name for.
    """
    if names not in FRAMEWORKS:
        known = ", ".join(repr(known) for known in FRAMEWORKS)
        raise ValueError(f"expected the names of one of {known}, got {names!r}")
    made = FRAMEWORKS[names](name)
    if not made:
        raise ValueError(f"expected a layer that {names} has a name for, got {name!r}")
    return made


def _open_clip(name: str) -> str:
    return f"visual.trunk.{name}" if _CONVNEXT.fullmatch(name) else f"visual.{name}"


def _timm(name: str) -> str:
    if _CONVNEXT.fullmatch(name):
        return name
    if _STEM.fullmatch(name):
        return f"stem.{name}.conv"
    if _RESNET.fullmatch(name):
        stage, block, conv = name.split(".", 2)
        return f"stages.{int(stage[-1]) - 1}.{block}.{_CONVS_TIMM[conv]}.conv"
    return ""


def _timm_features(name: str) -> str:
    return _timm(name).replace("stages.", "stages_", 1).replace("stem.", "stem_", 1)


FRAMEWORKS: dict[str, Callable[[str], str]] = {
    "backbone": lambda name: name,
    "open_clip": _open_clip,
    "timm": _timm,
    "timm_features": _timm_features,
    "fc-clip": lambda name: f"backbone.clip_model.{_open_clip(name)}",
}

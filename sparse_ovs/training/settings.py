"""What decides a training run: every setting, its default and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from sparse_ovs.loop import Constant, Cosine, MultiStep, Poly, Schedule

_DTYPES = {"none": None, "float16": torch.float16, "bfloat16": torch.bfloat16}


def setting(default: Any, meaning: str) -> Any:
    """A field with a default and its meaning, which printed settings show."""
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata={"meaning": meaning})
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class ModelSettings:
    """[model]"""

    backbone: str = setting("RN50", "an open_clip model")
    pretrained: str = setting("openai", "its weights: a tag or a file; empty for random ones")
    checkpoint: str = setting("", "a segmenter to go on from, instead of all others here")
    head: str = setting("maskformer", "a head that learns")
    sizes: Any = setting("paper", "of the head: a preset, or a table of sizes")
    output_stride: int = setting(
        0, "a ResNet is dilated to it: 8, 16 or 32; 0: what the head wants"
    )
    templates: str = setting("bare", "of prompts for the classes' names")


@dataclass(frozen=True)
class DataSettings:
    """[data]"""

    dataset: str = setting("coco133", "see `sparse-ovs data`")
    root: str = setting("", "folder of the datasets; empty for $DETECTRON2_DATASETS or ./datasets")
    split: str = setting("train", "which images")
    options: dict[str, Any] = setting({}, "of the dataset, such as size and count of scenes")
    crop: int = setting(512, "pixels of the square crops")
    scale: list[float] = setting([0.8, 1.2], "shorter side of the image, in crops: least and most")
    flip: bool = setting(True, "mirror half of the images")
    workers: int = setting(2, "processes that load images")

    def __post_init__(self) -> None:
        if self.crop < 1 or self.workers < 0:
            raise ValueError(
                f"expected crop >= 1 and workers >= 0, got {self.crop} and {self.workers}"
            )
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"expected a scale of two rising numbers, got {self.scale}")


@dataclass(frozen=True)
class OptimizerSettings:
    """[optimizer]: AdamW."""

    lr: float = setting(1.5e-4, "learning rate of the head")
    backbone_factor: float = setting(0.1, "the encoder's learning rate, in that of the head")
    weight_decay: float = setting(0.05, "none on norms, biases, scales and embeddings")
    clip_norm: float = setting(0.01, "largest norm of all gradients together; 0 does not clip")

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"expected lr > 0, got {self.lr}")
        for name in ("backbone_factor", "weight_decay", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"expected {name} >= 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class ScheduleSettings:
    """[schedule]: of the learning rates."""

    name: str = setting("step", "constant, step, poly or cosine")
    warmup: int = setting(0, "steps of linear rise")
    milestones: list[int] = setting([40_000, 45_000], "of step: where rates fall")
    gamma: float = setting(0.1, "of step: to this part")
    power: float = setting(0.9, "of poly")

    def __post_init__(self) -> None:
        self.schedule(self.warmup + 1)

    def schedule(self, steps: int) -> Schedule:
        """Of a run of so many steps.

        Raises:
            ValueError: no such schedule, or one that does not fit the steps.
        """
        if self.name == "constant":
            return Constant(self.warmup)
        if self.name == "step":
            return MultiStep(self.warmup, milestones=tuple(self.milestones), gamma=self.gamma)
        if self.name == "poly":
            return Poly(self.warmup, steps=steps, power=self.power)
        if self.name == "cosine":
            return Cosine(self.warmup, steps=steps)
        raise ValueError(f"expected a schedule of constant, step, poly, cosine, got {self.name!r}")


@dataclass(frozen=True)
class RunSettings:
    """[run]"""

    steps: int = setting(50_000, "of the optimiser")
    batch: int = setting(28, "images a step, of all processes together")
    accumulate: int = setting(1, "batches a step; then a step sees batch * accumulate images")
    seed: int = setting(0, "of everything random")
    autocast: str = setting("none", "none, float16 or bfloat16")
    checkpoint_every: int = setting(1000, "steps between checkpoints")
    log_every: int = setting(20, "steps between rows of the log")

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} >= 1, got {getattr(self, name)}")
        if self.autocast not in _DTYPES:
            raise ValueError(f"expected autocast of {', '.join(_DTYPES)}, got {self.autocast!r}")

    @property
    def dtype(self) -> torch.dtype | None:
        """Of autocast."""
        return _DTYPES[self.autocast]


@dataclass(frozen=True)
class EncoderSettings:
    """[encoder]: what of it stays as it is."""

    mask: str = setting("", "file of masks that stay; zeros for the encoder's own; empty for none")
    sparse_kernels: bool = setting(False, "train through sparse kernels where they are faster")
    selection: str = setting("", "file of `sparse-ovs alpha`: its layers are frozen")
    frozen_from: int = setting(0, "step from which the selection is frozen")
    freeze: bool = setting(False, "the whole encoder, BatchNorm too")
    freeze_norms: bool = setting(True, "its BatchNorm: statistics, scales and shifts")

    def __post_init__(self) -> None:
        if self.frozen_from < 0:
            raise ValueError(f"expected frozen_from >= 0, got {self.frozen_from}")
        if self.freeze and self.selection:
            raise ValueError("expected a selection or a frozen encoder, got both")


@dataclass(frozen=True)
class DistillationSettings:
    """[distillation]"""

    kind: str = setting("none", "none, text-guided (masks' heads) or label-free")
    weight: float = setting(2.0, "in the loss")
    regions: int = setting(200, "text-guided: crops of a batch at most")

    def __post_init__(self) -> None:
        kinds = ("none", "text-guided", "label-free")
        if self.kind not in kinds:
            raise ValueError(f"expected a kind of {', '.join(kinds)}, got {self.kind!r}")
        if not self.weight >= 0 or self.regions < 1:
            raise ValueError(
                f"expected weight >= 0 and regions >= 1, got {self.weight} and {self.regions}"
            )


@dataclass(frozen=True)
class GroundingSettings:
    """[grounding]: regions and words of captions find each other (masks' heads)."""

    weight: float = setting(0.0, "in the loss; 0 leaves it out")
    words: int = setting(5, "of a caption at most")
    dropped: float = setting(0.25, "chance of a word to be left out")

    def __post_init__(self) -> None:
        if not self.weight >= 0 or self.words < 1 or not 0 <= self.dropped <= 1:
            raise ValueError(
                "expected weight >= 0, words >= 1 and dropped from 0 to 1, got "
                f"{self.weight}, {self.words} and {self.dropped}"
            )


@dataclass(frozen=True)
class SegmentationTraining:
    """A head, and an encoder under it, on labelled images. The defaults are those of Han et al. in
    OpenTrans (arXiv 2404.07448, section 4.1), but for text-guided distillation and grounding, which
    are off.

    Attributes:
        losses: of heads that predict masks: what differs from their loss settings.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    run: RunSettings = field(default_factory=RunSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    grounding: GroundingSettings = field(default_factory=GroundingSettings)
    losses: dict[str, Any] = setting({}, "of masks' heads, such as points, class_weight, ignored")

    def __post_init__(self) -> None:
        self.schedule.schedule(self.run.steps)

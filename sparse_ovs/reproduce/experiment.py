"""What an experiment is made of: models, arms, seeds and sizes, read from a TOML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparse_ovs.training import build, read_toml
from sparse_ovs.training.settings import setting

FOLDER = Path(__file__).parent / "scales"
SCALES = ("smoke", "mini", "paper")
PARTS = ("seen", "unseen", "all")


@dataclass(frozen=True)
class PruningPlan:
    """[pruning]: how encoders are pruned and repaired, without labels."""

    dataset: str = setting(
        "emoji", "whose images they see: emoji as CLIP was taught them, or see `sparse-ovs data`"
    )
    split: str = setting("train", "of it, unless emoji")
    options: dict[str, Any] = setting({}, "of the dataset, unless emoji")
    crop: int = setting(64, "pixels of the square images")
    batch: int = setting(64, "images a step")
    steps: int = setting(240, "of distillation for each arm; IMP takes half between its rounds")
    lr: float = setting(1e-3, "of AdamW")
    norm_images: int = setting(2048, "on which BatchNorm is estimated anew after pruning")
    obs_images: int = setting(256, "that OBS looks at")


@dataclass(frozen=True)
class NamingPlan:
    """[naming]: what encoders are asked to name, zero-shot."""

    splits: list[str] = setting([], "of emoji")
    pictures: int = setting(8, "of each of the 200 concepts")


@dataclass(frozen=True)
class TransferPlan:
    """[transfer]: the heads that one subnetwork is carried into."""

    recipes: dict[str, Any] = setting({}, "of `sparse-ovs train`, by head")
    changes: list[str] = setting([], "of all recipes, such as run.steps=100")


@dataclass(frozen=True)
class TuningPlan:
    """[tuning]: fine-tuning with some layers frozen."""

    recipe: str = setting("emoji-maskformer", "of `sparse-ovs train`")
    changes: list[str] = setting([], "of it, in both parts")
    first: list[str] = setting([], "of the part in which all layers learn")
    rest: list[str] = setting([], "of the part in which some are frozen")


@dataclass(frozen=True)
class TimingPlan:
    """[timing]: what is measured with nothing beside it."""

    size: int = setting(128, "pixels of the experiment's own encoder")
    large: str = setting("RN50", "an encoder of the usual size, pruned to the same densities")
    large_size: int = setting(512, "its pixels; 0 leaves it out")
    baselines: list[str] = setting(["channels_last"], "dense encoders of torch")
    step_size: int = setting(256, "pixels of its training steps; 0 leaves them out")
    step_batch: int = setting(2, "images of them")
    rounds: int = setting(7, "samples of each")


@dataclass(frozen=True)
class Score:
    """Where a number of the tables comes from.

    Attributes:
        dataset, split, options: see `open_dataset`.
        part: "seen" or "unseen" for the mean IoU of those classes, "all" for that of all.
    """

    dataset: str
    split: str
    options: dict[str, Any]
    part: str


@dataclass(frozen=True)
class Experiment:
    """Everything that decides the numbers, but for the machine.

    Attributes:
        scores: tables by column: dataset, split, options, part.
    """

    model: str = setting("emoji-RN50", "an open_clip model")
    pretrained: str = setting("emoji", "its weights, which every arm starts from")
    density: float = setting(0.1, "kept fraction of the weights in scope, where heads are trained")
    densities: list[float] = setting([0.1], "kept fractions of encoders, with the one above")
    seeds: int = setting(3, "of everything random")
    image_size: int = setting(128, "pixels that MACs of trained segmenters are counted for")
    cost_size: int = setting(512, "pixels of a training image, for which RN50's steps are counted")
    model_size: list[int] = setting([800, 1216], "height and width that models are counted for")
    scores: dict[str, Any] = setting({}, "by column")
    pruning: PruningPlan = field(default_factory=PruningPlan)
    naming: NamingPlan = field(default_factory=NamingPlan)
    transfer: TransferPlan = field(default_factory=TransferPlan)
    tuning: TuningPlan = field(default_factory=TuningPlan)
    timing: TimingPlan = field(default_factory=TimingPlan)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"expected at least 1 seed, got {self.seeds}")
        if self.density not in self.densities:
            raise ValueError(
                f"expected densities with {self.density:g}, that of heads, got {self.densities}"
            )
        self.columns()

    def columns(self) -> dict[str, Score]:
        """The scores by column.

        Raises:
            ValueError: a table that makes no score.
        """
        made = {}
        for column, table in self.scores.items():
            known = {"dataset": "", "split": "val", "options": {}, "part": "all"}
            if unknown := [name for name in table if name not in known]:
                raise ValueError(
                    f"expected scores.{column} of {', '.join(known)}, got {', '.join(unknown)}"
                )
            made[column] = Score(**{**known, **table})
            if made[column].part not in PARTS:
                raise ValueError(
                    f"expected a part of {', '.join(PARTS)} in scores.{column}, got "
                    f"{made[column].part!r}"
                )
        return made


def load_experiment(scale: str) -> Experiment:
    """One of SCALES.

    Raises:
        ValueError: no such scale.
    """
    if scale not in SCALES:
        raise ValueError(f"expected a scale of {', '.join(SCALES)}, got {scale!r}")
    return build(Experiment, read_toml(FOLDER / f"{scale}.toml"))

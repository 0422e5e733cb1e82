"""Makes the tiny CLIP's weights: python pretrain.py FOLDER; run again, it goes on."""

import sys

from sparse_ovs import create_backbone
from sparse_ovs.cli.console import err
from sparse_ovs.evaluation import zero_shot_accuracy
from sparse_ovs.loop import progress_bar
from sparse_ovs.training import ClipTraining, train_clip


def main(folder: str, settings: ClipTraining) -> None:
    """Trains it and says what it knows."""
    with progress_bar(err, "pretrain", ("found",)) as report:
        weights = train_clip(settings, folder, resume=True, report=report)
    backbone = create_backbone(settings.model, weights)
    print(f"wrote {weights}; zero-shot accuracy on single objects, of 148 classes:")
    for split in ("val-seen", "val-unseen"):
        for templates in ("bare", "vild"):
            accuracy = zero_shot_accuracy(backbone, split, templates=templates)
            print(f"{split}, templates {templates}: {accuracy:.1%}")


if __name__ == "__main__":
    main(sys.argv[1], ClipTraining())

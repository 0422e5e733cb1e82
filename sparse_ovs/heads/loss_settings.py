"""What the losses of mask heads weigh and draw."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MaskLossSettings:
    """Weights of the losses, which are those of the matching's costs too, and numbers of points.

    The defaults are those of Mask2Former (arXiv 2112.01527, section 4.1 and appendix A).

    Attributes:
        class_weight, mask_weight, dice_weight: of the classes' cross-entropy, of the masks' binary
            cross-entropy and of their dice loss.
        void_weight: of queries without a region, in the classes' cross-entropy.
        ignored: chance of a query with a region to be left out of the classes' cross-entropy.
        points: at which a mask is compared with a region.
        oversample, uncertain: times as many random points, of which this share is chosen where
            masks are least certain (PointRend, arXiv 1912.08193).

    Raises:
        ValueError: a negative weight, a share that is none, or less than 1 point or oversampling.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    void_weight: float = 0.1
    ignored: float = 0.0
    points: int = 12_544
    oversample: float = 3.0
    uncertain: float = 0.75

    def __post_init__(self) -> None:
        for name in ("class_weight", "mask_weight", "dice_weight", "void_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"expected {name} of at least 0, got {getattr(self, name)}")
        for name in ("ignored", "uncertain"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} from 0 to 1, got {getattr(self, name)}")
        for name in ("points", "oversample"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")

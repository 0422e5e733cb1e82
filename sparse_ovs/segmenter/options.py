"""Settings of a segmenter that its file keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sparse_ovs.predictor.options import check_input_options
from sparse_ovs.text import Vocabulary

MASK_ORDERS = ("original", "image", "cheap")


@dataclass(frozen=True)
class Options:
    """How images are resized and cut, text is embedded, and the background is told.

    Attributes:
        templates: of prompts (see `sparse_ovs.text.find_templates`).
        background: what becomes of pixels that none of the classes fits. None: nothing, every pixel
            gets its best class. A number from 0 to 1: pixels whose best class has a lower
            probability are background. A string: names ("wall" or "wall, sky") that compete with
            the classes; pixels where they win are background. Where it is the name of a class of
            the vocabulary, that class is taken. Background is -1 in `sem_seg` and no segment.
        size: pixels of the shorter side that the encoder sees; None leaves images as they are.
            Either way images are padded with zeros, right and below, to the encoder's stride.
        longest: pixels of the longer side at most, which comes before `size`; used with it alone.
        window: side of the windows that larger images are cut into; None for no windows.
        overlap: fraction of a window that it shares with its neighbour.
        mask_order: how masks of a head with queries become scores of pixels. "original": logits are
            upsampled to the encoder's input, and the sums over queries of probabilities there to
            the image (MaskFormer; Han et al.; FC-CLIP where it segments semantically alone).
            "image": logits are upsampled to the image too, and summed there (FC-CLIP where it makes
            panoptic or instance results as well), but where there are several windows. "cheap":
            sums are taken at the masks' own size, a quarter of the input's.

    Raises:
        ValueError: a setting out of its range.
        TypeError: a background that is no such thing.
    """

    templates: str | Sequence[str] = "vild"
    background: str | float | None = None
    size: int | None = 512
    longest: int = 2048
    window: int | None = 1024
    overlap: float = 0.25
    mask_order: str = "original"

    def __post_init__(self) -> None:
        check_input_options(self)
        if isinstance(self.background, str):
            Vocabulary.parse([self.background])
        elif isinstance(self.background, bool) or not isinstance(
            self.background, (int, float, type(None))
        ):
            raise TypeError(
                "expected a background of None, a name or a number from 0 to 1, got "
                f"{self.background!r}"
            )
        elif self.background is not None and not 0 <= self.background <= 1:
            raise ValueError(f"expected a background from 0 to 1, got {self.background}")
        if self.mask_order not in MASK_ORDERS:
            raise ValueError(
                f"expected a mask_order of {', '.join(MASK_ORDERS)}, got {self.mask_order!r}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        made = asdict(self)
        if not isinstance(self.templates, str):
            made["templates"] = list(self.templates)
        return made

"""How much alike a compressed encoder and the dense one see, on images held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils._pytree as pytree
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.backbones.weights import IMAGE_ENCODER
from sparse_ovs.heads.maskclip import MaskCLIP
from sparse_ovs.pruning.distill import cosine_distance
from sparse_ovs.pruning.embedding import EmbeddingReader, FromMaps, make_embedding_reader
from sparse_ovs.text import TextEmbeddings, Vocabulary, embed_vocabulary

Run = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Quality:
    """Means over images; cosines of 1 and agreements of 1 are the dense encoder's own.

    Attributes:
        images: how many were seen.
        maps: cosines of each output, over channels at each position.
        errors: of each output: the norm of the difference by that of the dense one.
        embedding: cosine of the pooled embedding; None for a module that has none.
        classes: share of images in which the same class wins: of a classifier's own, or of the
            vocabulary by CLIP's embedding; None where there are none.
        masks: share of the last map's cells in which the same class of the vocabulary wins, by
            MaskCLIP; None without a vocabulary.
    """

    images: int
    maps: list[float]
    errors: list[float]
    embedding: float | None = None
    classes: float | None = None
    masks: float | None = None


@dataclass
class _Sums:
    maps: list[list[float]] = field(default_factory=list)
    squares: list[list[float]] = field(default_factory=list)
    embedding: list[float] = field(default_factory=list)
    classes: list[float] = field(default_factory=list)
    masks: list[float] = field(default_factory=list)


class Judge:
    """Compares encoders with one dense encoder.

    Args:
        dense: in eval mode.
        images: (M, C, H, W), held out.
        vocabulary: classes in words ("cat; dog"), for a CLIP; None for none.

    Attributes:
        words: names of the classes; none without a vocabulary.

    Raises:
        ValueError: a vocabulary for what is no CLIP with text.
    """

    def __init__(
        self, dense: nn.Module, images: Tensor, vocabulary: str | Sequence[str] | None = None
    ) -> None:
        self._dense, self._images = dense, images
        self._reader: EmbeddingReader | None = None
        self._text: TextEmbeddings | None = None
        self._cells: MaskCLIP | None = None
        self.words: Sequence[str] = ()
        if isinstance(dense, Backbone) and hasattr(dense, "clip"):
            self._reader = _reader_of(dense)
        if vocabulary is not None:
            words = Vocabulary.parse(vocabulary)
            if not isinstance(dense, Backbone) or not hasattr(dense, "clip"):
                raise ValueError("expected a CLIP encoder for a vocabulary, got another module")
            self._text = embed_vocabulary(dense.clip, words)
            self._cells = _cells_of(dense)
            self.words = words.names

    def tells_classes(self) -> bool:
        """Whether a cell's class means something: of a vocabulary, by trained weights."""
        clip: Any = getattr(self._dense, "clip", None)
        return self._cells is not None and IMAGE_ENCODER not in clip.random_parts

    def labels(self, outputs: Any) -> Tensor:
        """The class of the vocabulary that wins in each cell of the last map, (N, H, W), by
        MaskCLIP; where `tells_classes`."""
        assert self._cells is not None
        return self._cells(_tensors(outputs), self._text).argmax(1)

    @torch.no_grad()
    def judge(self, run: Run, module: nn.Module) -> Quality:
        """Of an encoder with the dense one's outputs.

        Args:
            run: images (1, C, H, W) -> outputs.
            module: of the same weights, for an embedding that is made of more than the outputs.
        """
        sums = _Sums()
        for image in self._images.split(1):
            expected, found = (_tensors(one(image)) for one in (self._dense, run))
            pairs = list(zip(found, expected, strict=True))
            sums.maps.append([1 - float(cosine_distance(a, b).mean()) for a, b in pairs])
            sums.squares.append([_square(part) for a, b in pairs for part in (a - b, b)])
            self._compare_embeddings(sums, image, found, module)
            self._compare_classes(sums, found, expected)
        count = len(self._images)
        squares = torch.tensor(sums.squares, dtype=torch.float64).sum(0)
        errors = (squares[::2] / squares[1::2].clamp(min=1e-300)).sqrt()
        return Quality(
            images=count,
            maps=torch.tensor(sums.maps, dtype=torch.float64).mean(0).tolist(),
            errors=errors.tolist(),
            embedding=_mean(sums.embedding),
            classes=_mean(sums.classes),
            masks=_mean(sums.masks),
        )

    def _compare_embeddings(
        self, sums: _Sums, image: Tensor, found: list[Tensor], module: nn.Module
    ) -> None:
        if self._reader is None:
            return
        _, theirs = self._reader(self._dense, image)
        if isinstance(self._reader, FromMaps):
            ours = self._reader.embed(found)
        else:
            _, ours = self._reader(module, image)
        sums.embedding.append(1 - float(cosine_distance(ours, theirs).mean()))
        if self._text is not None and self._dense.pooling != "mean":  # which is no space of text
            wins = [self._text.similarity(F.normalize(each, dim=1)) for each in (ours, theirs)]
            sums.classes.append(_agreement(wins[0], wins[1]))

    def _compare_classes(self, sums: _Sums, found: list[Tensor], expected: list[Tensor]) -> None:
        if self._reader is None and found[-1].dim() == 2 and found[-1].shape[1] > 1:
            sums.classes.append(_agreement(found[-1], expected[-1]))
        if self._text is not None and self._cells is not None:
            ours, theirs = (self._cells(maps, self._text) for maps in (found, expected))
            sums.masks.append(_agreement(ours, theirs))


def _reader_of(backbone: Backbone) -> EmbeddingReader | None:
    try:
        return make_embedding_reader(backbone)
    except ValueError:  # its outputs end before what is pooled
        return None


def _cells_of(backbone: Backbone) -> MaskCLIP | None:
    try:
        needed = MaskCLIP.needed_indices(backbone)
    except ValueError:  # pools without values
        return None
    return MaskCLIP(backbone).eval() if set(needed) <= set(backbone.out_indices) else None


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _agreement(a: Tensor, b: Tensor) -> float:
    return float((a.argmax(1) == b.argmax(1)).double().mean())


def _square(x: Tensor) -> float:
    return float(x.double().square().sum())


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None

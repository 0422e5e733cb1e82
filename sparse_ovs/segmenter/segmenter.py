"""Segmenter: an encoder, a head and a vocabulary; images in, classes out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import Head
from sparse_ovs.predictor import Predictor
from sparse_ovs.predictor.hub import push
from sparse_ovs.predictor.images import to_picture
from sparse_ovs.segmenter import files
from sparse_ovs.segmenter.background import mark_background, with_background
from sparse_ovs.segmenter.decide import Decision
from sparse_ovs.segmenter.options import Options
from sparse_ovs.segmenter.precision import check_precision, scales_from
from sparse_ovs.segmenter.result import Result, find_segments
from sparse_ovs.segmenter.scoring import Scores, image_scores, window_scores
from sparse_ovs.text import Vocabulary
from sparse_ovs.text.vocabulary import Words


class Segmenter(Predictor):
    """Made by `create_segmenter` or `Segmenter.from_pretrained`; in eval mode. Its tasks are files
    of `sparse_ovs.segmenter.tasks`.

    Args:
        backbone: gives what the head needs, and CLIP's other parts.
        head: see `sparse_ovs.heads`.
        options: see Options.
        fast: run the encoder as a compiled plan (see `sparse_ovs.compile`), made and tuned at the
            first image; after a change of the encoder's weights, `forget_plan`.

    Attributes:
        vocabulary: the classes; None until `set_vocabulary`.
    """

    makes = "masks"
    options: Options

    def __init__(
        self, backbone: Backbone, head: Head, options: Options | None = None, fast: bool = False
    ) -> None:
        super().__init__(backbone, options or Options(), fast)
        self.head = head
        self.eval()
        self.warn_of_random_parts()

    def random_parts(self) -> tuple[str, ...]:
        """In words, what has no trained weights: parts of CLIP (see ClipParts), "head"."""
        return self._parts().random_parts()

    def asked(self, vocabulary: Vocabulary) -> Vocabulary:
        """The classes, and behind them the background's names where they compete.

        Raises:
            ValueError: a background that the classes do not fit.
        """
        return with_background(
            vocabulary, self.options.background, relative=not self.head.probabilities
        )

    def like(self) -> Tensor:
        """A tensor of the device and dtype that pictures and embeddings take: the head's."""
        return next(self.head.parameters())

    def predict(
        self,
        image: Any,
        vocabulary: Words | Vocabulary | None = None,
        *,
        scores: bool | None = None,
    ) -> Any:
        """Segments an image, or each of several.

        Args:
            image: a path, a PIL image, an array (H, W[, 1 | 3 | 4]), a tensor ([1 | 3 | 4, ]H, W),
                uint8, uint16 or floating point from 0 to 1; or several: a list of these, or an
                array or a tensor with a leading dimension.
            vocabulary: see `set_vocabulary`; None keeps the one that is set.
            scores: keep the probabilities of all classes; None keeps them up to 256 MB.

        Returns:
            A Result; a list of them where there are several images.

        Raises:
            ValueError: no vocabulary, or an image that cannot be read.
            TypeError: something that is no image.
        """
        return self.run("semantic", image, vocabulary, scores=scores)

    def predict_panoptic(
        self,
        image: Any,
        vocabulary: Words | Vocabulary | None = None,
        things: Sequence[str] | None = None,
        overlap: float = 0.8,
    ) -> Any:
        """Each pixel of an image, or of several, to one segment at most: one thing, or all stuff
        of a class (see `sparse_ovs.heads.panoptic`). Images are seen whole, without windows: a
        query's mask ends at its window.

        A background that is a number drops queries of at most this probability; one of names
        counts as no object.

        Args:
            image, vocabulary: see `predict`.
            things: names of the classes that are things; None for all.
            overlap: share of its own pixels that a mask has to win.

        Returns:
            A PanopticResult; a list of them where there are several images.

        Raises:
            ValueError: a head without masks, things that are no classes, or as `predict`.
            TypeError: as `predict`.
        """
        return self.run("panoptic", image, vocabulary, things=things, overlap=overlap)

    def predict_instances(
        self,
        image: Any,
        vocabulary: Words | Vocabulary | None = None,
        things: Sequence[str] | None = None,
        top: int = 100,
    ) -> Any:
        """The things of an image, or of several, by falling score, with masks that may overlap
        (see `sparse_ovs.heads.instances`). Images are seen whole; a background of names counts as
        no object.

        Args:
            image, vocabulary, things: see `predict_panoptic`.
            top: pairs of a query and a class that are looked at.

        Returns:
            An InstanceResult; a list of them where there are several images.

        Raises:
            ValueError, TypeError: as `predict_panoptic`.
        """
        return self.run("instances", image, vocabulary, things=things, top=top)

    @torch.no_grad()
    def predict_labels(self, image: Any, class_chunk: int = 64) -> Tensor:
        """The classes alone, (H, W) int64, -1 for the background, by a running maximum over chunks
        of classes: scores of all classes are never held at the image's size.

        Args:
            image: one image, as in `predict`.

        Raises:
            ValueError, TypeError: as `predict`.
        """
        picture = to_picture(image)
        wants_sure = isinstance(self.options.background, (int, float))
        made = self.scores(self.to_input(picture))
        return self._labels(made.decide(self.frame(picture), class_chunk, wants_sure))

    def scores(self, x: Tensor) -> Scores:
        """Pixels of `to_input` -> what the head says of them, window by window; one class more than
        the vocabulary where the background's names compete.

        Raises:
            ValueError: no vocabulary was set.
        """
        _, text = self.classes_and_text()
        said = [
            (place, window_scores(self.head, self.head(maps, text), self.options))
            for place, maps in self.encode_windows(x)
        ]
        height, width = x.shape[-2:]
        return image_scores(self.head, said, (height, width), self.options)

    def result(self, decision: Decision, picture: Image.Image) -> Result:
        """What `predict` returns, of a decision with its confidence."""
        assert self.vocabulary is not None
        assert decision.confidence is not None
        sem_seg, scores = self._labels(decision), decision.scores
        return Result(
            sem_seg,
            None if scores is None else scores[: len(self.vocabulary)].cpu(),
            find_segments(sem_seg, decision.confidence.cpu(), self.vocabulary),
            self.vocabulary,
            picture,
        )

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes FOLDER/segmenter.safetensors: weights (sparse ones packed) and config in one file;
        makes the folder. Scales of an encoder that computes in int8 are part of it, the vocabulary
        is not."""
        files.save(self._parts(), folder)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        revision: str | None = None,
        fast: bool = False,
        precision: str = "fp32",
        calibrate: Any = None,
    ) -> Segmenter:
        """Reads a file or a folder of `save_pretrained`, "emoji-maskformer", which the package
        brings, or a repository of the hub ("user/name").

        Args:
            fast, precision, calibrate: see `create_segmenter`.

        Raises:
            FileNotFoundError: a path that is neither.
            FileFormatError: a damaged, foreign or newer file.
            PretrainedUnavailable: a repository that cannot be downloaded.
            ValueError: a precision out of place.
        """
        check_precision(fast, precision, calibrate)
        parts = files.load(files.find(source, revision))
        images = scales_from(precision, calibrate, parts.quantization)
        made = cls(parts.backbone, parts.head, parts.options, fast)
        return made if images is None else made.calibrate(images)

    def push_to_hub(self, repository: str, private: bool = False, token: str | None = None) -> str:
        """Uploads what `save_pretrained` writes to huggingface.co; returns the commit's address.

        Raises:
            ConnectionError: the hub cannot be reached, or refuses.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = files.save(self._parts(), folder)
            return push(path, files.KIND, repository, private, token)

    def _labels(self, decision: Decision) -> Tensor:
        assert self.vocabulary is not None
        return mark_background(decision, self.vocabulary, self.options.background).cpu()

    def _parts(self) -> files.Parts:
        return files.Parts(self.backbone, self.head, self.options, self.quantization)

"""Segmenter: an encoder, a head and a vocabulary; images in, classes out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.compilation import compile
from sparse_ovs.heads import Head
from sparse_ovs.heads.frame import Frame
from sparse_ovs.segmenter.decide import Decision
from sparse_ovs.segmenter.images import is_batch, to_picture
from sparse_ovs.segmenter.inputs import frame_of, to_pixels
from sparse_ovs.segmenter.options import Options
from sparse_ovs.segmenter.queries import (
    instance_result,
    mask_predictor,
    panoptic_result,
    which_are_things,
    without_background,
)
from sparse_ovs.segmenter.result import NOTHING, Result, find_segments
from sparse_ovs.segmenter.scoring import Scores, image_scores, window_scores
from sparse_ovs.segmenter.windows import windows
from sparse_ovs.text import TextEmbeddings, Vocabulary, embed_vocabulary
from sparse_ovs.text.vocabulary import Words

# Scores of all classes that are kept without being asked for, in bytes.
_SCORES_BY_DEFAULT = 1 << 28
# The name of the head among the parts with random weights; ClipParts has the others.
HEAD = "head"


class RandomWeightsWarning(UserWarning):
    """Parts of a segmenter have no trained weights: its masks mean nothing."""


class Segmenter(nn.Module):
    """Made by `create_segmenter` or `Segmenter.from_pretrained`; in eval mode.

    Args:
        backbone: gives what the head needs, and CLIP's other parts.
        head: see `sparse_ovs.heads`.
        options: see Options.
        fast: run the encoder as a compiled plan (see `sparse_ovs.compile`), made and tuned at the
            first image; after a change of the encoder's weights, `forget_plan`.

    Attributes:
        vocabulary: the classes; None until `set_vocabulary`.
    """

    def __init__(
        self, backbone: Backbone, head: Head, options: Options | None = None, fast: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.options = options or Options()
        self.fast = fast
        self.vocabulary: Vocabulary | None = None
        self._text: TextEmbeddings | None = None
        self._plan: list[nn.Module] = []  # a list, so that it is no submodule
        self.eval()
        if self.random_parts():
            warnings.warn(
                f"random weights ({', '.join(self.random_parts())}): times and shapes are "
                "real, masks mean nothing",
                RandomWeightsWarning,
                stacklevel=3,
            )

    def random_parts(self) -> tuple[str, ...]:
        """In words, what has no trained weights: parts of CLIP (see ClipParts), "head"."""
        return (*self.backbone.clip.random_parts, *((HEAD,) if self.head.untrained else ()))

    def set_vocabulary(self, words: Words | Vocabulary) -> Segmenter:
        """Sets the classes, by `Vocabulary.parse`, and embeds them, those that are not in the
        cache; returns the segmenter.

        Raises:
            ValueError, TypeError: no vocabulary, or one that the background does not fit.
        """
        vocabulary = Vocabulary.parse(words)
        asked = vocabulary
        background = self.options.background
        relative = not self.head.probabilities
        if isinstance(background, (int, float)) and relative and len(vocabulary) == 1:
            raise ValueError(
                "expected at least 2 classes where the background is a probability (a class alone "
                "always has 1), got 1; name what else there is, such as background='wall, floor'"
            )
        if isinstance(background, str) and vocabulary.index(background) is None:
            (extra,) = Vocabulary.parse([background]).classes
            for name, synonyms in zip(vocabulary.names, vocabulary.classes, strict=True):
                if {w.casefold() for w in extra} <= {w.casefold() for w in synonyms}:
                    raise ValueError(
                        f"expected a background that no class has as a synonym, got {background!r}"
                        f" and the class {name!r}"
                    )
            asked = Vocabulary((*vocabulary.classes, extra))
        text = embed_vocabulary(self.backbone.clip, asked, self.options.templates)
        like = next(self.head.parameters())
        self._text = text.to(like.device, like.dtype)
        self.vocabulary = vocabulary
        return self

    @torch.no_grad()
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
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)
        if is_batch(image):
            return [self._predict(to_picture(each), scores) for each in image]
        return self._predict(to_picture(image), scores)

    @torch.no_grad()
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
        mask_predictor(self.head, "panoptic")
        background = self.options.background
        threshold = background if isinstance(background, (int, float)) else 0.0

        def one(picture: Image.Image, classes: Vocabulary, are_things: list[bool]) -> Any:
            queries = self._queries(picture)
            frame = self.frame(picture)
            return panoptic_result(
                *queries, are_things, threshold, overlap, classes, frame, picture
            )

        return self._of_each(one, image, vocabulary, things)

    @torch.no_grad()
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
        mask_predictor(self.head, "instance")

        def one(picture: Image.Image, classes: Vocabulary, are_things: list[bool]) -> Any:
            queries, frame = self._queries(picture), self.frame(picture)
            return instance_result(*queries, are_things, top, classes, frame, picture)

        return self._of_each(one, image, vocabulary, things)

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
        decision = made.decide(self.frame(picture), class_chunk, wants_sure)
        return self._mark_background(decision).cpu()

    def frame(self, picture: Image.Image) -> Frame:
        """Where a picture lies in the encoder's input, by the options."""
        return frame_of(picture, self.options, self._stride())

    def to_input(self, picture: Image.Image) -> Tensor:
        """RGB -> (1, 3, H, W) of the head's dtype, normalised as CLIP was trained, resized and
        padded as `frame` says."""
        about: Any = self.backbone.clip.visual
        config = about.preprocess_cfg
        x = to_pixels(picture, self.frame(picture), config["mean"], config["std"])
        return x.to(next(self.head.parameters()))

    def encode(self, x: Tensor) -> Sequence[Tensor]:
        """Pixels of `to_input`, or a window of them -> the backbone's maps."""
        if not self.fast:
            return self.backbone(x)
        if not self._plan:
            self._plan.append(compile(self.backbone, x.contiguous()))
        return self._plan[0](x.contiguous())

    def scores(self, x: Tensor) -> Scores:
        """Pixels of `to_input` -> what the head says of them, window by window; one class more than
        the vocabulary where the background's names compete.

        Raises:
            ValueError: no vocabulary was set.
        """
        _, text = self._classes()
        height, width = x.shape[-2:]
        places = windows(height, width, self._window(), self._stride(), self.options.overlap)
        said = []
        for place in places:
            output = self.head(self.encode(x[..., *place]), text)
            said.append((place, window_scores(self.head, output, self.options)))
        return image_scores(self.head, said, (height, width), self.options)

    def result(self, decision: Decision, picture: Image.Image) -> Result:
        """What `predict` returns, of a decision with its confidence."""
        assert self.vocabulary is not None
        assert decision.confidence is not None
        sem_seg = self._mark_background(decision).cpu()
        scores = decision.scores
        return Result(
            sem_seg,
            None if scores is None else scores[: len(self.vocabulary)].cpu(),
            find_segments(sem_seg, decision.confidence.cpu(), self.vocabulary),
            self.vocabulary,
            picture,
        )

    def forget_plan(self) -> None:
        """Drops the compiled encoder; the next image makes it anew."""
        self._plan.clear()

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes FOLDER/segmenter.safetensors: weights (sparse ones packed) and config in one file;
        makes the folder. The vocabulary is not part of it."""
        from sparse_ovs.segmenter import files

        files.save(self, folder)

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike[str], revision: str | None = None, fast: bool = False
    ) -> Segmenter:
        """Reads a file or a folder of `save_pretrained`, "scenes-maskformer", which the package
        brings, or a repository of the hub ("user/name").

        Raises:
            FileNotFoundError: a path that is neither.
            FileFormatError: a damaged, foreign or newer file.
            PretrainedUnavailable: a repository that cannot be downloaded.
        """
        from sparse_ovs.segmenter import files

        return files.load(files.find(source, revision), fast)

    def push_to_hub(self, repository: str, private: bool = False, token: str | None = None) -> str:
        """Uploads what `save_pretrained` writes to huggingface.co; returns the commit's address.

        Raises:
            ConnectionError: the hub cannot be reached, or refuses.
        """
        from sparse_ovs.segmenter import files

        return files.push(self, repository, private, token)

    def _predict(self, picture: Image.Image, scores: bool | None) -> Result:
        made = self.scores(self.to_input(picture))
        if scores is None:
            scores = made.classes * picture.height * picture.width * 4 <= _SCORES_BY_DEFAULT
        return self.result(made.decide(self.frame(picture), scores=scores), picture)

    def _classes(self) -> tuple[Vocabulary, TextEmbeddings]:
        if self.vocabulary is None or self._text is None:
            raise ValueError("expected a vocabulary, got none: call set_vocabulary('cat; dog')")
        return self.vocabulary, self._text

    def _of_each(
        self,
        one: Callable[[Image.Image, Vocabulary, list[bool]], Any],
        image: Any,
        vocabulary: Words | Vocabulary | None,
        things: Sequence[str] | None,
    ) -> Any:
        """What `one` makes of an image, or of each of several."""
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)
        classes, _ = self._classes()
        are_things = which_are_things(classes, things)
        if is_batch(image):
            return [one(to_picture(each), classes, are_things) for each in image]
        return one(to_picture(image), classes, are_things)

    def _queries(self, picture: Image.Image) -> tuple[Tensor, Tensor]:
        """Probabilities (Q, K + 1) and mask logits (Q, h, w) of the head, the background as no
        object."""
        classes, text = self._classes()
        output: Any = self.head(self.encode(self.to_input(picture)), text)
        probabilities = mask_predictor(self.head, "these").class_probabilities(output)[0]
        return (
            without_background(probabilities, len(classes), self._background_index()),
            output.mask_logits[0].float(),
        )

    def _background_index(self) -> int | None:
        """Of the class, or of what follows the classes; None where it is no name."""
        background = self.options.background
        if not isinstance(background, str):
            return None
        classes, _ = self._classes()
        index = classes.index(background)
        return len(classes) if index is None else index

    def _mark_background(self, decision: Decision) -> Tensor:
        background, labels = self.options.background, decision.labels
        index = self._background_index()
        if index is not None:
            return labels.masked_fill(labels == index, NOTHING)
        if not isinstance(background, (int, float)):
            return labels
        assert decision.confidence is not None
        return labels.masked_fill(decision.confidence < background, NOTHING)

    def _stride(self) -> int:
        return max(self.backbone.feature_info.reduction())

    def _window(self) -> int | None:
        """In whole strides."""
        if self.options.window is None:
            return None
        stride = self._stride()
        return max(1, self.options.window // stride) * stride

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        self.forget_plan()
        result = super()._apply(fn, recurse)
        if self._text is not None:
            rows = fn(self._text.rows)
            self._text = TextEmbeddings(rows, self._text.vocabulary)
        return result

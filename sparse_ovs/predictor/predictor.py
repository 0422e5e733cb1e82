"""Predictor: an encoder, its compiled plan and a vocabulary, for tasks of every kind."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.compilation import compile
from sparse_ovs.heads.frame import Frame
from sparse_ovs.predictor.images import is_batch, pictures, to_picture
from sparse_ovs.predictor.inputs import frame_of, to_pixels
from sparse_ovs.predictor.options import InputOptions
from sparse_ovs.predictor.tasks import find_task
from sparse_ovs.predictor.windows import Window, windows
from sparse_ovs.quantization import Quantization, quantize
from sparse_ovs.text import TextEmbeddings, Vocabulary, embed_vocabulary
from sparse_ovs.text.vocabulary import Words


class RandomWeightsWarning(UserWarning):
    """Parts of a predictor have no trained weights: its results mean nothing."""


class Predictor(nn.Module):
    """What tasks share: pictures become the encoder's input, the input maps, and words their
    embeddings; `run` does a task by its name. Subclasses add what their tasks need, such as a head.

    Args:
        backbone: gives what the tasks need, and CLIP's other parts.
        options: see InputOptions.
        fast: run the encoder as a compiled plan (see `sparse_ovs.compile`), made and tuned at the
            first image; after a change of the encoder's weights, `forget_plan`.

    Attributes:
        makes: its results, in a word.
        vocabulary: the classes; None until `set_vocabulary`.
        quantization: with which the plan computes in int8; None: it computes in fp32.
    """

    makes: ClassVar[str] = "results"
    options: InputOptions

    def __init__(self, backbone: Backbone, options: InputOptions, fast: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.options = options
        self.fast = fast
        self.vocabulary: Vocabulary | None = None
        self.quantization: Quantization | None = None
        self._text: TextEmbeddings | None = None
        self._plan: list[nn.Module] = []  # a list, so that it is no submodule
        self.eval()

    def random_parts(self) -> tuple[str, ...]:
        """In words, what has no trained weights: parts of CLIP (see ClipParts)."""
        return self.backbone.clip.random_parts

    def warn_of_random_parts(self) -> None:
        """Warns who calls the function that makes the predictor; for the end of a subclass's
        `__init__`."""
        if self.random_parts():
            warnings.warn(
                f"random weights ({', '.join(self.random_parts())}): times and shapes are "
                f"real, {self.makes} mean nothing",
                RandomWeightsWarning,
                stacklevel=4,
            )

    def set_vocabulary(self, words: Words | Vocabulary) -> Self:
        """Sets the classes, by `Vocabulary.parse`, and embeds them, those that are not in the
        cache; returns the predictor.

        Raises:
            ValueError, TypeError: no vocabulary, or one that the options do not fit.
        """
        vocabulary = Vocabulary.parse(words)
        asked = self.asked(vocabulary)
        text = embed_vocabulary(self.backbone.clip, asked, self.options.templates)
        like = self.like()
        self._text = text.to(like.device, like.dtype)
        self.vocabulary = vocabulary
        return self

    def asked(self, vocabulary: Vocabulary) -> Vocabulary:
        """What is embedded for a vocabulary: its classes, and those that subclasses add behind.

        Raises:
            ValueError: a vocabulary that the options do not fit.
        """
        return vocabulary

    def classes_and_text(self) -> tuple[Vocabulary, TextEmbeddings]:
        """The classes, and the embeddings of those that were `asked`.

        Raises:
            ValueError: no vocabulary was set.
        """
        if self.vocabulary is None or self._text is None:
            raise ValueError("expected a vocabulary, got none: call set_vocabulary('cat; dog')")
        return self.vocabulary, self._text

    @torch.no_grad()
    def run(
        self, task: str, image: Any, vocabulary: Words | Vocabulary | None = None, **options: Any
    ) -> Any:
        """Does a task on an image, or on each of several.

        Args:
            task: a name in `sparse_ovs.predictor.TASKS`.
            image: a path, a PIL image, an array (H, W[, 1 | 3 | 4]), a tensor ([1 | 3 | 4, ]H, W),
                uint8, uint16 or floating point from 0 to 1; or several: a list of these, or an
                array or a tensor with a leading dimension.
            vocabulary: see `set_vocabulary`; None keeps the one that is set.
            options: of the task.

        Returns:
            The task's result; a list of them where there are several images.

        Raises:
            ValueError: no such task, one that the predictor cannot do, no vocabulary where it needs
                one, or an image that cannot be read.
            TypeError: something that is no image, or an option that the task does not have.
        """
        kind = find_task(task)
        if not isinstance(self, kind.needs):
            raise ValueError(
                f"expected a {kind.needs.__name__} for task {task!r}, got a {type(self).__name__}"
            )
        made = kind(**options)
        made.check(self)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)
        one = made.start(self)
        if is_batch(image):
            return [one(to_picture(each)) for each in image]
        return one(to_picture(image))

    def like(self) -> Tensor:
        """A tensor of the device and dtype that pictures and embeddings take."""
        return next(self.backbone.parameters())

    def frame(self, picture: Image.Image) -> Frame:
        """Where a picture lies in the encoder's input, by the options."""
        return frame_of(picture, self.options, self._stride())

    def to_input(self, picture: Image.Image) -> Tensor:
        """RGB -> (1, 3, H, W) of the predictor's dtype, normalised as CLIP was trained, resized and
        padded as `frame` says."""
        about: Any = self.backbone.clip.visual
        config = about.preprocess_cfg
        x = to_pixels(picture, self.frame(picture), config["mean"], config["std"])
        return x.to(self.like())

    def encode(self, x: Tensor) -> Sequence[Tensor]:
        """Pixels of `to_input`, or a window of them -> the backbone's maps."""
        if not self.fast:
            return self.backbone(x)
        if not self._plan:
            self._plan.append(
                compile(
                    self.backbone,
                    x.contiguous(),
                    precision="fp32" if self.quantization is None else "int8",
                    quantization=self.quantization,
                )
            )
        return self._plan[0](x.contiguous())

    def encode_windows(self, x: Tensor) -> Iterator[tuple[Window, Sequence[Tensor]]]:
        """Pixels of `to_input` -> windows by the options, and the backbone's maps of each."""
        for place in self._places(x):
            yield place, self.encode(x[..., *place])

    def calibrate(
        self, images: Any, percentile: float | None = None, exclude: Sequence[str] = ()
    ) -> Self:
        """Lets the plan of a fast predictor compute in int8, by the maps that images give; returns
        the predictor. After a change of the encoder's weights, call it again.

        Args:
            images: a folder, or several images as `run` takes them (a DataLoader's batches too),
                which become the encoder's input as in `run`, windows too; or what this or
                `sparse_ovs.quantize` made before of the same encoder.
            percentile, exclude: see `sparse_ovs.quantize`.

        Raises:
            ValueError: a predictor that is not fast, no images, or as `sparse_ovs.quantize`; at the
                next image, a quantization of another encoder.
            TypeError: something that is no image.
        """
        if not self.fast:
            raise ValueError("expected a fast predictor to calibrate, got one without a plan")
        if not isinstance(images, Quantization):
            inputs = self._windows_of(images)
            images = quantize(self.backbone, inputs, percentile, exclude)
        self.quantization = images
        self.forget_plan()
        return self

    def _windows_of(self, images: Any) -> Iterator[Tensor]:
        """What the encoder sees of images."""
        for picture in pictures(images):
            x = self.to_input(picture)
            for place in self._places(x):
                yield x[..., *place].contiguous()

    def forget_plan(self) -> None:
        """Drops the compiled encoder; the next image makes it anew."""
        self._plan.clear()

    def _places(self, x: Tensor) -> list[Window]:
        """Of the windows that pixels of `to_input` are cut into."""
        height, width = x.shape[-2:]
        return windows(height, width, self._window(), self._stride(), self.options.overlap)

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

"""sparse-ovs demo: an encoder compressed as far as does no harm, and the masks before and after."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated

import torch
import typer
from PIL import Image
from torch import Tensor

from sparse_ovs.backbones import Backbone, PretrainedUnavailable, create_backbone
from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.demo_page import demo_page
from sparse_ovs.cli.outputs import segments_table
from sparse_ovs.compression import Compressed
from sparse_ovs.compression.images import read_photos, split_images
from sparse_ovs.compression.run import compress_all
from sparse_ovs.compression.settings import CompressionSettings
from sparse_ovs.data.images import read_image
from sparse_ovs.data.sample_photos import crops, sample_photos
from sparse_ovs.formats import replace_file
from sparse_ovs.segmenter import Result, Segmenter, create_segmenter
from sparse_ovs.segmenter.shipped import DEMO, demo_scene, demo_scenes
from sparse_ovs.text import Vocabulary

_MODEL = "RN50"
_WORDS = "face, head; uniform, jacket; hat, cap; flag; wall, background"
# What is tried: times as fast as dense torch; of the small encoder, which has but a tenth of its
# weights, and whose time in torch is that of calls, shares of the weights.
_TRIED: dict[str, Sequence[dict[str, float]]] = {
    "openai": [{"target_speedup": 2.0}, {"target_speedup": 3.0}, {"target_speedup": 4.0}],
    "shipped": [{"density": 0.1}, {"density": 0.06}, {"density": 0.03}],
}
# Cosine of the last map to the dense one's, on images held out, from which on nothing is harmed.
_HARMLESS = 0.95
_IMAGES = 64
_PICTURES = (
    ("dense.png", "the dense encoder, fp32"),
    ("compressed.png", "the compressed one, int8"),
)


@dataclass(frozen=True)
class _Subject:
    """What is compressed and shown.

    Attributes:
        segmenter: around the dense encoder.
        images: (N, 3, H, W), to compress on.
        picture, words: what is segmented.
        said: about the weights, in a line.
        tried: what the budget of each compression is.
    """

    segmenter: Segmenter
    images: Tensor
    picture: Image.Image
    words: str
    said: str
    tried: Sequence[dict[str, float]]


def demo(
    image: Annotated[
        Path | None, typer.Option(help="photo; default: matplotlib's portrait of Grace Hopper")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="folder of photos to compress on; default: crops of sample photos"),
    ] = None,
    vocab: Annotated[
        str, typer.Option(help="classes in words to find: semicolons between, commas: synonyms")
    ] = _WORDS,
    pattern: Annotated[str, typer.Option(help="unstructured, block4x1, ...")] = "unstructured",
    threads: Annotated[int | None, typer.Option(help="default: torch's own choice")] = None,
    folder: Annotated[Path, typer.Option("--out", help="where pictures go")] = Path("demo-out"),
) -> None:
    """Compress CLIP RN50 as far as does no harm, and show masks before and after.

    Of several compressions to int8 the fastest whose maps stay the dense encoder's is taken.
    OpenAI's weights are looked for, for some seconds. Without them it says so first, and runs on
    what the package ships: the encoder of a small trained segmenter, and scenes.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("the demo draws: expected matplotlib, got none; pip install matplotlib")
    Vocabulary.parse(vocab)
    begun = monotonic()
    with progress("look for CLIP's weights") as say:
        subject = _subject(image, images, vocab)
        out.print(subject.said, markup=False, soft_wrap=True)
        settings = [
            CompressionSettings(
                **budget,  # type: ignore[arg-type]
                precision="int8",
                pattern=pattern,
                allocation="global",
                threads=threads,
            )
            for budget in subject.tried
        ]
        made = compress_all(
            subject.segmenter.backbone,
            split_images(subject.images, subject.segmenter.backbone),
            settings,
            tell=lambda doing, done, of: say(f"{doing} ({done} of {of})" if of else doing),
        )
        best = harmless(made)
        say("segment")
        dense = subject.segmenter.predict(subject.picture, subject.words)
        ours = _compressed(subject.segmenter, best).predict(subject.picture, subject.words)
    verdict = _verdict(best, dense, ours, (monotonic() - begun) / 60)
    tried = [one.report.headline() for one in made]
    folder.mkdir(parents=True, exist_ok=True)
    subject.picture.save(folder / "input.png")
    dense.overlay().save(folder / "dense.png")
    ours.overlay().save(folder / "compressed.png")
    page = demo_page([subject.said, verdict], _PICTURES, tried)
    replace_file(folder / "report.html", page.encode())
    names = ("report.html", "input.png", "dense.png", "compressed.png")
    files = [*(folder / name for name in names), *best.save(folder / "encoder")]
    console = wide(out)
    console.print(segments_table(ours))
    for line in (*tried, verdict):
        console.print(line, markup=False)
    err.print("wrote " + ", ".join(map(str, files)))


def harmless(made: Sequence[Compressed]) -> Compressed:
    """The fastest whose last map's cosine to the dense one's is at least 0.95; where none has it,
    the one that is nearest."""
    good = [each for each in made if each.report.quality.maps[-1] >= _HARMLESS]
    if not good:
        return max(made, key=lambda each: each.report.quality.maps[-1])
    return max(good, key=lambda each: each.report.speed.speedup.median if each.report.speed else 0)


def _subject(image: Path | None, images: Path | None, vocab: str) -> _Subject:
    try:
        backbone = create_backbone(_MODEL, "openai")
    except PretrainedUnavailable as error:
        said = (
            f"CLIP's weights could not be had ({error}): this runs on what the package ships, a "
            "small trained segmenter and drawn scenes."
        )
        if image is not None or images is not None or vocab != _WORDS:
            said += " Photos and words of yours wait for CLIP's weights."
        return _shipped(said)
    photos = sample_photos()
    if images is not None:
        batches, _ = read_photos(images, backbone.preprocess, _IMAGES)
        seen = torch.cat(list(batches))
    else:
        seen = torch.stack([backbone.preprocess(each) for each in crops(photos, _IMAGES, seed=0)])
    picture = photos[0] if image is None else read_image(image)
    segmenter = create_segmenter("maskclip", backbone)
    said = f"Weights: OpenAI's CLIP RN50. To compress on: {len(seen)} images."
    return _Subject(segmenter, seen, picture, vocab, said, _TRIED["openai"])


def _shipped(said: str) -> _Subject:
    segmenter = create_segmenter(checkpoint=DEMO)
    seen = crops([picture for picture, _ in demo_scenes()], _IMAGES, seed=0)
    images = torch.cat([segmenter.to_input(crop) for crop in seen])
    picture, words = demo_scene()
    return _Subject(segmenter, images, picture, words, said, _TRIED["shipped"])


def _compressed(segmenter: Segmenter, made: Compressed) -> Segmenter:
    """The segmenter with the compressed encoder, in int8."""
    assert isinstance(made.module, Backbone)
    fast = Segmenter(made.module, copy.deepcopy(segmenter.head), segmenter.options, fast=True)
    return fast.calibrate(made.quantization)


def _verdict(best: Compressed, dense: Result, ours: Result, minutes: float) -> str:
    report = best.report
    assert report.speed is not None
    same = float((dense.sem_seg == ours.sem_seg).double().mean())
    return (
        f"{report.speed.speedup} as fast as the fastest dense torch, in int8 with "
        f"{report.density:.0%} of the weights: the same class in {same:.1%} of the pixels. "
        f"It took {minutes:.1f} minutes."
    )

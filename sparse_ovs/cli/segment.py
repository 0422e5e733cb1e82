"""sparse-ovs segment: classes in words, an image, and a picture of where they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.options import HeadSizes, PatternName, Pretrained
from sparse_ovs.cli.outputs import check_output, output_table, predict_output
from sparse_ovs.cli.segmenters import make_segmenter
from sparse_ovs.predictor.images import to_picture
from sparse_ovs.quantization import Quantization, load_quantization
from sparse_ovs.segmenter import Segmenter
from sparse_ovs.segmenter.shipped import DEMO, demo_scene
from sparse_ovs.text import Vocabulary


def segment(
    image: Annotated[Path | None, typer.Argument(help="photo; not with --demo")] = None,
    vocab: Annotated[
        str | None,
        typer.Option(help="classes in words: semicolons between them, commas between synonyms"),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="a procedural scene of things that were not trained on, by the segmenter that "
            "the package brings: offline, in seconds",
        ),
    ] = False,
    head: Annotated[
        str | None,
        typer.Option(help="maskclip, deeplabv3plus, ...; default: maskclip, or the checkpoint's"),
    ] = None,
    head_sizes: HeadSizes = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="file or folder of Segmenter.save_pretrained")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="open_clip model; default: RN50, or the checkpoint's")
    ] = None,
    pretrained: Pretrained = None,
    density: Annotated[
        float | None, typer.Option(help="kept fraction of the encoder; default: dense")
    ] = None,
    pattern: PatternName = "unstructured",
    mask: Annotated[Path | None, typer.Option(help="file of masks, instead of a density")] = None,
    background: Annotated[
        str | None,
        typer.Option(
            help="what no class fits: a probability below which pixels have none, or names that "
            "compete with the classes; default: every pixel gets a class"
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="shorter side that the encoder sees; default: 512")
    ] = None,
    templates: Annotated[
        str | None, typer.Option(help="of prompts: bare, vild (default), imagenet")
    ] = None,
    fast: Annotated[
        bool, typer.Option(help="compile the encoder first, which pays for many images")
    ] = False,
    precision: Annotated[
        str, typer.Option(help="of the compiled encoder: fp32, or int8, which compiles it")
    ] = "fp32",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="of int8: a folder of images, or a file of `quantize`; default: the scales in the "
            "checkpoint"
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            help="semantic: a class for every pixel; panoptic, instance (heads with masks): things "
            "apart from each other"
        ),
    ] = "semantic",
    things: Annotated[
        str | None,
        typer.Option(help="of panoptic and instance: the classes that are; default: all"),
    ] = None,
    out_file: Annotated[
        Path, typer.Option("--out", help="the picture with the classes over it", dir_okay=False)
    ] = Path("overlay.png"),
    labels: Annotated[
        Path | None,
        typer.Option(
            help="write the labels here (.png): 255 for none; panoptic: ids in COCO's colours",
            dir_okay=False,
        ),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="write what was found here; - for stdout")
    ] = None,
) -> None:
    """Segment an image by classes in words.

    Without `--pretrained` or `--checkpoint` weights are random, and the masks mean nothing.

    `sparse-ovs segment --demo`

    `sparse-ovs segment photo.jpg --vocab "cat, kitten; dog; sofa" --pretrained openai`

    `sparse-ovs segment photo.jpg --vocab "cat" --background "wall, floor" --checkpoint mine`

    `sparse-ovs segment photo.jpg --vocab "cat" --checkpoint mine --precision int8
    --calibrate photos`

    `sparse-ovs segment photo.jpg --vocab "cat; sky" --head maskformer --checkpoint mine
    --output panoptic --things "cat"`
    """
    # Told before a model is built.
    if vocab is not None:
        Vocabulary.parse(vocab)
    check_output(output, things, labels)
    if demo:
        if image is not None or checkpoint is not None:
            raise ValueError("expected --demo without a photo and a checkpoint, got one")
        checkpoint, (picture, words) = Path(DEMO), demo_scene()
        vocab = words if vocab is None else vocab
    elif image is None or vocab is None:
        raise ValueError(f"expected a photo and --vocab, or --demo, got {_given(image, vocab)}")
    else:
        picture = to_picture(image)
    settings = {
        "pattern": pattern,
        "mask": mask,
        "fast": fast or precision == "int8",
        "precision": precision,
        "calibrate": read_calibrate(calibrate),
        "head_sizes": head_sizes,
        "background": parse_background(background),
        "size": size,
        "templates": templates,
    }
    with progress("create the segmenter") as say:
        segmenter = make_segmenter(head, backbone, pretrained, checkpoint, density, settings)
        say("embed the vocabulary")
        segmenter.set_vocabulary(vocab)
        say("segment")
        result = predict_output(segmenter, picture, output, things)
    result.overlay().save(out_file)
    if labels is not None:
        result.to_pil().save(labels)
    record = json.dumps(result.records(), indent=2)
    if json_file == "-":
        sys.stdout.write(record + "\n")
    else:
        wide(out).print(output_table(result))
        if json_file is not None:
            Path(json_file).write_text(record + "\n")
    note = random_note(segmenter)
    if note:
        err.print(note, style="yellow")
    if demo:
        err.print(f"classes asked for: {vocab}")
    err.print("wrote " + ", ".join(str(p) for p in (out_file, labels) if p is not None))


def _given(image: Path | None, vocab: str | None) -> str:
    return "neither" if image is None and vocab is None else "one of them"


def parse_background(text: str | None) -> str | float | None:
    """A number where it reads as one, else names."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def read_calibrate(path: Path | None) -> Path | Quantization | None:
    """A folder as it is, the quantization of a file."""
    return path if path is None or path.is_dir() else load_quantization(path)


def random_note(segmenter: Segmenter) -> str:
    """What has no trained weights, in capitals; empty where everything has."""
    parts: Any = segmenter.random_parts()
    if not parts:
        return ""
    return f"RANDOM WEIGHTS ({', '.join(parts)}): the masks mean nothing"

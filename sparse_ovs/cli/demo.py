"""sparse-ovs demo: a photo segmented by words, with pictures of what was computed and gained."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor

from sparse_ovs.backbones import Backbone, PretrainedUnavailable
from sparse_ovs.backbones.clip_pixels import MEAN, STD
from sparse_ovs.cli.console import err, out, progress, wide
from sparse_ovs.cli.outputs import segments_table
from sparse_ovs.compilation import compile
from sparse_ovs.profiling import make_pair, profile_pair, profile_tables, write_html
from sparse_ovs.profiling.pair import EncoderPair
from sparse_ovs.profiling.pictures import draw_features, draw_layer_times
from sparse_ovs.profiling.tables import layer_times_line
from sparse_ovs.segmenter import RandomWeightsWarning, Result, create_segmenter
from sparse_ovs.segmenter.shipped import DEMO, demo_scene
from sparse_ovs.text import Vocabulary

_MODEL = "RN50"
_WORDS = "face, head; uniform, jacket; hat, cap; flag; wall, background"
_STRIDE = 32


def demo(
    image: Annotated[
        Path | None, typer.Option(help="photo; default: matplotlib's portrait of Grace Hopper")
    ] = None,
    density: Annotated[float, typer.Option(help="kept fraction of the weights")] = 0.1,
    pattern: Annotated[str, typer.Option(help="unstructured, block4x1, ...")] = "unstructured",
    vocab: Annotated[
        str, typer.Option(help="classes in words to find: semicolons between, commas: synonyms")
    ] = _WORDS,
    threads: Annotated[int | None, typer.Option(help="default: torch's own choice")] = None,
    folder: Annotated[Path, typer.Option("--out", help="where pictures go")] = Path("demo-out"),
) -> None:
    """Prune CLIP RN50, segment a photo by words with it, and show what was gained in speed.

    Takes OpenAI's weights where they can be had within seconds, else random ones, and says so. A
    scene is segmented too, by the small trained segmenter that the package brings.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("the demo draws: expected matplotlib, got none; pip install matplotlib")
    Vocabulary.parse(vocab)
    photo = load_photo(image or sample_photo())
    x = to_input(photo)
    with progress("create RN50") as say:
        pair, note = _make_pair(x, density, pattern)
        profile = profile_pair(pair, x, threads, on_step=say)
        say("segment")
        result = _segment(pair.sparse, photo, vocab)
        say("draw")
        with torch.no_grad():
            dense, sparse = pair.dense(x), compile(pair.sparse, x)(x)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / "input.png")
        result.overlay().save(folder / "segmentation.png")
        say("segment a scene")
        scene, words = demo_scene()
        create_segmenter(checkpoint=DEMO).predict(scene, words).overlay().save(folder / "scene.png")
        names = pair.sparse.feature_info.module_name()
        draw_features(photo, dense, sparse, names, folder / "features.png")
        draw_layer_times(profile, folder / "layers.png")
        pictures = [
            ("scene.png", f"a trained small segmenter on things that it never saw: {words}"),
            ("segmentation.png", f"maskclip on the sparse encoder, vocabulary: {vocab}"),
            ("features.png", "feature maps as PCA colours: dense above, sparse below"),
            ("layers.png", f"milliseconds by layer; {layer_times_line(profile)}"),
        ]
        write_html(profile, folder / "report.html", [note], pictures)
    console = wide(out)
    for table in profile_tables(profile, layers=False):
        console.print(table)
    console.print(segments_table(result))
    console.print(f"largest relative error of a map: {profile.max_rel_err:.1e}")
    console.print(note, style="yellow" if pair.weights == "random" else "")
    names = "report.html, input.png, segmentation.png, scene.png, features.png, layers.png"
    err.print(f"wrote {folder}/{names}")


def sample_photo() -> Path:
    """matplotlib's sample portrait."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def load_photo(path: Path) -> np.ndarray:
    """(H, W, 3) uint8, both sides rounded down to what the encoder's stride divides.

    Raises:
        ValueError: no readable image, or one smaller than the stride.
    """
    try:
        photo = Image.open(path).convert("RGB")
    except OSError as error:
        raise ValueError(f"expected a readable image, got {path}: {error}") from error
    width, height = (side // _STRIDE * _STRIDE for side in photo.size)
    if not width or not height:
        raise ValueError(f"expected an image of at least {_STRIDE} pixels a side, got {photo.size}")
    return np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC))


def to_input(photo: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32, normalised as CLIP was trained."""
    pixels = torch.from_numpy(photo.copy()).float() / 255
    return ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1)[None].contiguous()


def _segment(backbone: Backbone, photo: np.ndarray, vocab: str) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeightsWarning)  # the note says it
        segmenter = create_segmenter("maskclip", backbone, size=None)
    return segmenter.predict(photo, vocab)


def _make_pair(x: Tensor, density: float, pattern: str) -> tuple[EncoderPair, str]:
    try:
        pair = make_pair(_MODEL, x, density, pattern, "openai")
        return pair, "Weights: OpenAI's CLIP RN50, pruned by magnitude without fine-tuning."
    except PretrainedUnavailable as error:
        pair = make_pair(_MODEL, x, density, pattern)
        return pair, (
            f"RANDOM WEIGHTS: {error}. Times and the agreement of sparse and dense are real; "
            "features and masks mean nothing."
        )

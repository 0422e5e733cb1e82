"""Where a segmenter's time goes: preprocess, text, encoder, head, postprocess; dense and sparse.

The dense side is what torch alone offers: encoder and head eager or compiled, and for deformable
attention grid_sample. The sparse side is this library's: the compiled sparse encoder, and the head
with the library's kernels.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image

from sparse_ovs import _native
from sparse_ovs.compilation import compile
from sparse_ovs.heads import Head, create_head, find_head
from sparse_ovs.predictor import RandomWeightsWarning
from sparse_ovs.predictor.latency import TOTAL, Contestant, Latency, time_stages
from sparse_ovs.profiling.baselines import BASELINES, build_after, build_baselines
from sparse_ovs.profiling.devices import device_name
from sparse_ovs.profiling.encoder import max_relative_error
from sparse_ovs.profiling.pair import make_pair
from sparse_ovs.profiling.timing import Ratio, Timings
from sparse_ovs.segmenter.options import Options
from sparse_ovs.segmenter.scoring import Said, image_scores, window_scores
from sparse_ovs.segmenter.segmenter import Segmenter
from sparse_ovs.text import TextEmbeddings, Vocabulary, embed_vocabulary, find_templates
from sparse_ovs.text.vocabulary import Words
from sparse_ovs.threads import torch_threads

STAGES = ("preprocess", "encoder", "head", "postprocess")
# Embedding a vocabulary takes seconds and is not part of an image's time.
_TEXT_ROUNDS = 3
# PASCAL VOC's classes.
VOC = (
    "aeroplane; bicycle; bird; boat; bottle; bus; car; cat; chair; cow; dining table; dog; horse; "
    "motorbike; person; potted plant; sheep; sofa; train; television"
)


@dataclass(frozen=True)
class HeadProfile:
    """One measured segmenter on one random picture in memory; fp32, batch 1.

    Attributes:
        size: (H, W) of the picture, which the encoder sees padded to whole strides.
        text: embedding the vocabulary without a cache, once a vocabulary.
        dense: stages of the fastest dense segmenter, named by `baseline`; "total" is of the image.
        sparse: stages of the sparse segmenter.
        encoders: medians of all dense encoders, None where one could not be built.
        totals: medians of all dense segmenters, likewise.
        speedup: median over the rounds of (dense total / sparse total); low, high: its quartiles.
        max_rel_err: of what the head says (scores, or classes and masks of queries), sparse against
            dense with the same zeros.
    """

    head: str
    model: str
    weights: str
    pattern: str
    density: float | str
    profile: str | None
    size: tuple[int, int]
    classes: int
    prompts: int
    threads: int
    isa: str
    cpu: str
    torch: str
    rounds: int
    baseline: str
    text: Latency
    dense: Mapping[str, Latency]
    sparse: Mapping[str, Latency]
    encoders: Mapping[str, float | None]
    totals: Mapping[str, float | None]
    speedup: Ratio
    max_rel_err: float

    def to_dict(self) -> dict[str, Any]:
        """Ready for json.dumps."""
        return asdict(self)


def profile_head(
    head: str,
    model: str = "RN50",
    density: float | str = 0.1,
    pattern: str = "unstructured",
    size: tuple[int, int] = (512, 512),
    threads: int | None = None,
    pretrained: str | os.PathLike[str] | None = None,
    profile: str | os.PathLike[str] = "uniform",
    vocabulary: Words | Vocabulary = VOC,
    templates: str | Sequence[str] = "vild",
    baselines: Sequence[str] = BASELINES,
    rounds: int = 7,
    head_sizes: str | Mapping[str, Any] | None = None,
    on_step: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = perf_counter,
) -> HeadProfile:
    """Times a segmenter stage by stage, with the sparse encoder and with every dense one in turn.

    Args:
        head: a name in `sparse_ovs.heads.HEADS`.
        model, density, pattern, pretrained, profile: see `sparse_ovs.profiling.make_pair`.
        size: (H, W) in pixels of the picture.
        threads: of torch and of ours; None takes torch's setting.
        vocabulary, templates: see `embed_vocabulary`.
        baselines: dense encoders, some of BASELINES.
        rounds: samples of each.
        head_sizes: see `create_head`.
        on_step: called with a line of text when a step begins.
        clock: seconds.

    Raises:
        ValueError, TypeError, FileNotFoundError, PretrainedUnavailable: an argument out of range.
        RuntimeError: no dense encoder could be built, or the native library is missing.
    """
    if rounds < 1:
        raise ValueError(f"expected at least 1 round, got {rounds}")
    if min(size) < 1:
        raise ValueError(f"expected a size of at least 1 pixel, got {size[0]}x{size[1]}")
    if threads is not None and threads < 1:
        raise ValueError(f"expected at least 1 thread, got {threads}")
    kind, words = find_head(head), Vocabulary.parse(vocabulary)
    options = Options(templates, size=None, window=None)
    on_step(f"create {model}")
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    picture = Image.fromarray(pixels)
    with torch_threads(threads):
        # The same on every machine, whatever was drawn before.
        like = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
        pair = make_pair(model, like, density, pattern, pretrained, profile, kind.output_stride)
        needed = kind.needed_indices(pair.sparse)
        pair.sparse.select(needed)
        pair.dense.select(needed)  # type: ignore[operator]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RandomWeightsWarning)  # the record says it
            segmenter = Segmenter(pair.sparse, create_head(head, pair.sparse, head_sizes), options)
        segmenter.vocabulary = words
        on_step("embed text")
        text = []
        for _ in range(min(rounds, _TEXT_ROUNDS)):
            start = clock()
            embeddings = embed_vocabulary(pair.sparse.clip, words, templates, cache=False)
            text.append((clock() - start) * 1e3)
        x = segmenter.to_input(picture)
        on_step("compile")
        plan = compile(pair.sparse, x)
        built = build_baselines(
            pair.dense, x, baselines, lambda name: on_step(f"build dense {name}")
        )
        if not built.runs:
            name, reason = next(iter(built.failures.items()))
            raise RuntimeError(f"no dense encoder could be built: {name}: {reason}")
        with torch.no_grad():
            ours, theirs = (
                _scores(segmenter.head, embeddings, options),
                _scores(_without_kernels(segmenter.head), embeddings, options),
            )
            sides = {"sparse": _contestant(segmenter, picture, lambda: plan(x), ours)}
            for name, run in built.runs.items():
                on_step(f"build dense head {name}")
                score = build_after(name, theirs, run())
                sides[name] = _contestant(segmenter, picture, run, score)
            error = max_relative_error(ours(plan(x)), theirs(pair.dense(x)))
            samples = time_stages(sides, rounds, on_step, clock)
        used_threads = torch.get_num_threads()
    totals = Timings({name: stages[TOTAL] for name, stages in samples.items()})
    best = totals.fastest(list(built.runs))
    latencies = {
        name: {stage: Latency.of(times) for stage, times in stages.items()}
        for name, stages in samples.items()
    }
    return HeadProfile(
        head=head,
        model=pair.sparse.clip.name,
        weights=pair.weights,
        pattern=pair.pattern,
        density=pair.density,
        profile=pair.profile,
        size=size,
        classes=len(words),
        prompts=len({w for c in words.classes for w in c}) * len(find_templates(templates)),
        threads=used_threads,
        isa=_native.isa(),
        cpu=device_name(torch.device("cpu")),
        torch=torch.__version__,
        rounds=rounds,
        baseline=best,
        text=Latency.of(text),
        dense=latencies[best],
        sparse=latencies["sparse"],
        encoders={
            name: latencies[name]["encoder"].p50 if name in latencies else None
            for name in baselines
        },
        totals={
            name: latencies[name][TOTAL].p50 if name in latencies else None for name in baselines
        },
        speedup=totals.ratio(best, "sparse"),
        max_rel_err=error,
    )


def _scores(head: Head, text: TextEmbeddings, options: Options) -> Callable[[Any], Said]:
    def score(maps: Any) -> Said:
        return window_scores(head, head(maps, text), options)

    return score


def _without_kernels(head: Head) -> Head:
    """A copy that torch alone runs."""
    twin = copy.deepcopy(head)
    for module in twin.modules():
        for name in ("native", "as_convolution"):
            if hasattr(module, name):
                module.__dict__[name] = False
    return twin


def _contestant(
    segmenter: Segmenter,
    picture: Image.Image,
    encode: Callable[[], Any],
    score: Callable[[Any], Said],
) -> Contestant:
    """All stages of one image.

    Args:
        encode: the picture's maps.
        score: maps -> what is decided on, see `window_scores`.
    """
    frame = segmenter.frame(picture)
    whole = (slice(0, frame.padded[0]), slice(0, frame.padded[1]))

    def decide(said: Said) -> object:
        scores = image_scores(segmenter.head, [(whole, said)], frame.padded, segmenter.options)
        return segmenter.result(scores.decide(frame), picture)

    stages = (lambda _: segmenter.to_input(picture), lambda _: encode(), score, decide)
    return Contestant(dict(zip(STAGES, stages, strict=True)), warm_up=lambda: score(encode()))

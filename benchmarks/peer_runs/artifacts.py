"""A configuration's files: weights, ONNX graph, images, and what dense torch makes of them."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peer_runs.cases import Configuration

# Raised when the same configuration would give other files.
_VERSION = "2"
# That int8 is calibrated on, or a batch where that is more.
_CALIBRATION_IMAGES = 4


@dataclass(frozen=True)
class Artifacts:
    """Files of one set of weights on one input.

    Attributes:
        folder: holds all of them.
        weights: state_dict of the dense model, zeros in it.
        onnx: the same model's graph for this input's shape.
        input: (N, 3, H, W) float32.
        calibration: (batches, N, 3, H, W) float32, other images for int8.
        reference: outputs of dense torch, eager.
        inductor: cache of torch.compile for these weights.
    """

    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def input(self) -> Path:
        return self.folder / "input.npy"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.npy"

    @property
    def reference(self) -> Path:
        return self.folder / "reference.npz"

    @property
    def inductor(self) -> Path:
        return self.folder / "inductor"


def unpruned(configuration: Configuration) -> Configuration:
    """The same encoder and input without a zero."""
    return dataclasses.replace(
        configuration, density=1.0, pattern="unstructured", profile="uniform"
    )


def folder_of(configuration: Configuration, cache: Path) -> Path:
    """Where the cache keeps a configuration's files."""
    return cache / f"{configuration.weights_name}-v{_VERSION}"


def prepare(
    configuration: Configuration,
    cache: Path,
    with_onnx: bool,
    on_step: Callable[[str], None] = lambda text: None,
) -> Artifacts:
    """Makes the files, or finds them in the cache, where they appear complete or not at all.

    Args:
        cache: folder of all artifacts.
        with_onnx: export the graph too; needs the peers extra.
        on_step: called with a line of text when something slow begins.
    """
    folder = folder_of(configuration, cache)
    artifacts = Artifacts(folder)
    if folder.is_dir() and (artifacts.onnx.is_file() or not with_onnx):
        return artifacts
    on_step("make weights")
    cache.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=cache))
    try:
        _make(configuration, Artifacts(temporary), with_onnx, on_step)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return artifacts


def _make(
    configuration: Configuration,
    files: Artifacts,
    with_onnx: bool,
    on_step: Callable[[str], None],
) -> None:
    import numpy
    import torch
    from safetensors.torch import save_file

    from sparse_ovs.profiling.images import smooth_images
    from sparse_ovs.profiling.pair import make_pair
    from sparse_ovs.profiling.runtimes import export_onnx

    torch.manual_seed(0)
    x = smooth_images(configuration.batch, configuration.size, seed=0)
    batches = -(-_CALIBRATION_IMAGES // configuration.batch)
    others = smooth_images(batches * configuration.batch, configuration.size, seed=1)
    dense = make_pair(
        configuration.model,
        x,
        configuration.density,
        configuration.pattern,
        profile=configuration.profile,
    ).dense
    with torch.no_grad():
        reference = [m.contiguous().numpy() for m in dense(x)]
    # Tensors that share memory are refused: every one is written for itself.
    state = {name: value.detach().clone() for name, value in dense.state_dict().items()}
    save_file(state, str(files.weights))
    numpy.save(files.input, x.numpy())
    numpy.save(files.calibration, others.numpy().reshape(batches, *x.shape))
    numpy.savez(files.reference, *reference)
    if with_onnx:
        on_step("export ONNX")
        export_onnx(dense, x, files.onnx)

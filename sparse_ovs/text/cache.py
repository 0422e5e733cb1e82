"""Text embeddings on disk: a string that was embedded once is read again."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sparse_ovs.backbones import ClipParts
from sparse_ovs.cache import VARIABLE, cache_folder
from sparse_ovs.formats import FileFormatError, read_file, write_file

_KIND = "text"
_METHOD = 1  # raised when the same prompts give other embeddings


class EmbeddingCache:
    """Embeddings of one text tower with one set of templates, in one file.

    What two processes write at the same time may be lost for one of them, never damaged: it is
    embedded again.
    """

    def __init__(self, clip: ClipParts, sentences: Sequence[str]) -> None:
        about = repr((_METHOD, clip.name, _weights_hash(clip.model), tuple(sentences)))
        name = hashlib.blake2b(about.encode(), digest_size=16).hexdigest()
        self.path: Path = cache_folder() / "text" / f"{name}.safetensors"

    def read(self, words: Sequence[str]) -> dict[str, Tensor]:
        """(D,) float32 by string, of those that are kept."""
        everything = self._everything()
        return {word: everything[word] for word in words if word in everything}

    def add(self, embeddings: Mapping[str, Tensor]) -> None:
        """Keeps more; warns, once a folder, where nothing can be written."""
        merged = {**self._everything(), **embeddings}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            rows = torch.stack(list(merged.values()))
            write_file(self.path, {"rows": rows}, {"kind": _KIND, "strings": list(merged)})
        except OSError as error:
            if self.path.parent not in _told:
                _told.add(self.path.parent)
                warnings.warn(
                    f"expected {self.path.parent} to be writable, got {error}: text is embedded "
                    f"again next time ({VARIABLE} names another folder)",
                    RuntimeWarning,
                    stacklevel=3,
                )

    def _everything(self) -> dict[str, Tensor]:
        try:
            tensors, header = read_file(self.path)
            if header["kind"] == _KIND:
                return dict(zip(header["strings"], tensors["rows"], strict=True))
        except (OSError, FileFormatError, KeyError, ValueError):
            pass  # none yet, or none to be used
        return {}


_told: set[Path] = set()  # folders that could not be written


def _weights_hash(model: nn.Module) -> str:
    """Of everything but the image tower and the scales."""
    content = hashlib.blake2b(digest_size=16)
    for name, value in model.state_dict().items():
        if not name.startswith(("visual.", "logit_")):
            content.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            plain = value.detach().cpu().contiguous().flatten()
            content.update(plain.view(torch.uint8).numpy() if plain.numel() else b"")
    return content.hexdigest()

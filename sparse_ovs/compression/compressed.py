"""What a compression gives, and the files that it becomes."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

import sparse_ovs.checkpoint
from sparse_ovs.compilation import compile
from sparse_ovs.compression.page import report_page
from sparse_ovs.compression.record import Report
from sparse_ovs.engine import Quantization
from sparse_ovs.formats import replace_file
from sparse_ovs.nn import sparsify
from sparse_ovs.pruning.masks import MaskInfo
from sparse_ovs.pruning.masks import save as save_masks


@dataclass(frozen=True, eq=False)
class Compressed:
    """A compressed encoder.

    Attributes:
        module: plain torch modules in eval mode, dense with zeros; in int8 with weights that s8
            numbers stand for.
        masks: bool by layer name (see `sparse_ovs.nn.named_weights`).
        quantization: for compile(module, x, precision="int8", quantization=...); None in fp32.
        report: what was done, and what came of it.
        pictures: PNGs for the report: an image, the dense map, ours.
        mask_pictures: the same with the classes of a vocabulary; none where there is none, or the
            encoder's weights are random.
    """

    module: nn.Module
    masks: dict[str, Tensor] = field(repr=False)
    quantization: Quantization | None
    report: Report = field(repr=False)
    pictures: Sequence[bytes] = field(default=(), repr=False)
    mask_pictures: Sequence[bytes] = field(default=(), repr=False)

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes masks.safetensors, weights.safetensors (for `sparse_ovs.load`), in int8
        quantization.safetensors, encoder.plan (for `sparse_ovs.load_plan`), report.json and
        report.html, each atomically. An encoder with steps in torch has no plan file; the report
        says so.

        Args:
            folder: made where it is missing.

        Returns:
            The files that were written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / "masks.safetensors", folder / "weights.safetensors"]
        save_masks(written[0], self.masks, self._info())
        self._save_weights(written[1])
        if self.quantization is not None:
            written.append(folder / "quantization.safetensors")
            self.quantization.save(written[-1])
        report = self.report
        try:
            self._save_plan(folder / "encoder.plan")
            written.append(folder / "encoder.plan")
        except ValueError as error:
            report = replace(report, notes=[*report.notes, f"no plan file: {error}"])
        for name, text in (
            ("report.json", json.dumps(report.as_json(), indent=2) + "\n"),
            ("report.html", report_page(report, self.pictures, self.mask_pictures)),
        ):
            written.append(folder / name)
            replace_file(written[-1], text.encode())
        return written

    def _info(self) -> MaskInfo:
        settings = self.report.settings
        plain = settings["method"] == "magnitude" and not settings["minutes"]
        return MaskInfo(
            model=self.report.model,
            pattern=settings["pattern"],
            criterion=f"{settings['method']}, {settings['allocation']}",
            schedule="one-shot",
            seed=settings["seed"],
            weights="original" if plain else "trained",
        )

    def _save_weights(self, path: Path) -> None:
        module = copy.deepcopy(self.module)
        sparsify(module, self.report.settings["pattern"], None, masks=self.masks)
        sparse_ovs.checkpoint.save(module, path)

    def _save_plan(self, path: Path) -> None:
        settings = self.report.settings
        example = torch.zeros(self.report.input_shape)
        compile(
            self.module,
            example,
            settings["threads"],
            precision=settings["precision"],
            quantization=self.quantization,
        ).save(path)

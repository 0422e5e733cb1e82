"""The cost tables: the paper's numbers recomputed, the honest count beside them, the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparse_ovs.reproduce.cost import IMAGES, PAPER_MODELS
from sparse_ovs.reproduce.steps import STEP_ARMS
from sparse_ovs.reproduce.tables import Table
from sparse_ovs.reproduce.transfer_tables import Records

# PMAC that arXiv 2404.07448 reports as saved of 181.4.
_PAPER_SAVED = {"frozen": 21.8, "sparse, frozen": 59.2}


def cost_tables(records: Records) -> list[Table]:
    """Those whose records are there."""
    made = []
    if counts := records.get("cost/counts"):
        made += [_saved(counts), _steps(counts), _models(counts)]
    if (times := records.get("timing/steps")) and "arms" in times:
        made.append(_clock(times))
    return made


def _saved(counts: Mapping[str, Any]) -> Table:
    uniform, trained = counts["trunk"]["uniform"], counts["trunk"]["trained"]
    whole, frozen = uniform["macs"], uniform["frozen_macs"]
    by_rule = {"frozen": frozen, "sparse, frozen": 1.8 * whole + 0.1 * frozen}
    rows = []
    for name, saved in by_rule.items():
        ours = [
            (trunk["dense"]["total"] - trunk[name]["total"]) * IMAGES / 1e15
            for trunk in (uniform, trained)
        ]
        rows.append(
            (
                name,
                f"{_PAPER_SAVED[name]:.1f}",
                f"{saved * IMAGES / 1e15:.2f}",
                *(f"{value:.2f}" for value in ours),
            )
        )
    note = (
        f"RN50's trunk at {counts['size']} px: {whole / 1e9:.2f} GMAC forward, of which "
        f"{frozen / 1e9:.2f} in the authors' 27 frozen layers; {IMAGES:,} images. The paper's "
        "rule: a step is 3 C, a sparse forward d C, a sparse backward (1 + d) C, every layer at "
        "density 0.1. Our count: layer by layer, all three products at the layer's density, the "
        "stem dense, no input gradient of the first layer. The last column has the layer "
        "densities of a trained network at 0.1, which keeps more of the early, costly layers."
    )
    columns = ("saved, PMAC", "paper says", "paper's rule, exact counts", "uniform", "trained")
    return Table("cost-saved", "Cost: what training saves", columns, tuple(rows), (note,))


def _steps(counts: Mapping[str, Any]) -> Table:
    rows = []
    for spread, trunk in counts["trunk"].items():
        for name in ("dense", "frozen", "sparse", "sparse, frozen"):
            if spread == "trained" and "sparse" not in name:
                continue
            step = trunk[name]
            label = f"{name} ({spread})" if "sparse" in name else name
            parts = ("forward", "input_gradient", "weight_gradient", "total", "paper_total")
            rows.append((label, *(f"{step[part] / 1e9:.2f}" for part in parts)))
    columns = ("step", "forward", "input gradients", "weight gradients", "all", "paper's rule")
    title = f"Cost: a training step of RN50's trunk, GMAC of one image of {counts['size']} px"
    return Table("cost-step", title, columns, tuple(rows))


def _models(counts: Mapping[str, Any]) -> Table:
    rows = []
    for head, model in counts["models"].items():
        (dense_m, dense_g), (_, sparse_g) = PAPER_MODELS[head]
        rows.append(
            (
                head,
                f"{dense_m:.1f}",
                f"{model['parameters'] / 1e6:.1f}",
                f"{dense_g:.1f}",
                f"{model['dense'] / 1e9:.1f}",
                f"{sparse_g:.1f}",
                f"{model['uniform'] / 1e9:.1f}",
                f"{model['trained'] / 1e9:.1f}",
            )
        )
    columns = (
        "model",
        "M parameters, paper",
        "ours",
        "GMAC dense, paper",
        "ours",
        "GMAC sparse, paper",
        "ours, uniform",
        "ours, trained densities",
    )
    height, width = counts["model_size"]
    note = (
        f"Whole models at {height} x {width}, 133 classes, our heads at the paper's sizes; text "
        "is embedded once and not counted. Parameters: trunk and head, fcclip's with the attention "
        "pool that its second branch runs."
    )
    return Table("cost-models", "Cost: whole models", columns, tuple(rows), (note,))


def _clock(times: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            name,
            f"{times['arms'][name]['ms']:.0f}",
            "{ratio:.2f} ({low:.2f} to {high:.2f})".format(**times["arms"][name]),
        )
        for name in STEP_ARMS
    )
    machine = times["machine"]
    note = (
        f"RN50's trunk, {times['size']} px, batch {times['batch']}, density 0.1; torch in "
        "channels_last where dense. Frozen: the authors' 27 layers and their BatchNorms. Median, "
        f"and quartiles of the rounds' ratios; {machine['cpu']}, {machine['isa']}, threads: "
        f"{machine['threads']}, torch {machine['torch']}."
    )
    title = "Cost: a training step by the clock"
    return Table("cost-clock", title, ("step", "ms", "times as fast as dense"), rows, (note,))

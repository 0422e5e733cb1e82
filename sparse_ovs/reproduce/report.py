"""Writes what an experiment found: tables, pictures, and one page with all of them."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Sequence
from html import escape
from pathlib import Path

from sparse_ovs.formats import replace_file
from sparse_ovs.profiling.page import whole_page
from sparse_ovs.reproduce.cost_tables import cost_tables
from sparse_ovs.reproduce.encoder_tables import encoder_differences, encoder_table
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.pictures import drawable
from sparse_ovs.reproduce.tables import Table
from sparse_ovs.reproduce.transfer_tables import Records, transfer_differences, transfer_table
from sparse_ovs.reproduce.tuning import is_tuned
from sparse_ovs.reproduce.tuning_tables import tuning_differences, tuning_table


def make_tables(experiment: Experiment, records: Records) -> list[Table]:
    """All that there are records for."""
    made: list[Table] = []
    if experiment.naming.splits and any(name.startswith("encoders/") for name in records):
        made += [encoder_table(experiment, records), encoder_differences(experiment, records)]
    if any(name.startswith("transfer/") for name in records):
        made += [transfer_table(experiment, records), transfer_differences(experiment, records)]
    if any(map(is_tuned, records)):
        made += [tuning_table(experiment, records), tuning_differences(experiment, records)]
    return made + cost_tables(records)


def write_report(
    scale: str, experiment: Experiment, records: Records, folder: Path
) -> Sequence[Path]:
    """Writes NAME.md and NAME.csv of every table, pictures as PNG and SVG, and all of them on one
    page, report.html and README.md, which forges show.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = make_tables(experiment, records)
    written = []
    for table in tables:
        for suffix, text in ((".md", table.to_markdown()), (".csv", table.to_csv())):
            written.append(folder / f"{table.name}{suffix}")
            replace_file(written[-1], text.encode())
    figures = []
    if importlib.util.find_spec("matplotlib") is not None:
        for name, (draw, caption) in drawable(experiment, records).items():
            draw(folder / name)
            written += [folder / f"{name}.png", folder / f"{name}.svg"]
            figures.append((folder / f"{name}.png", caption))
    title = f"The paper's tables, scale {scale}"
    plural = "s" if experiment.seeds > 1 else ""
    about = (
        f"{experiment.model}, weights {experiment.pretrained}, density {experiment.density:g}, "
        f"{experiment.seeds} seed{plural}, {len(records)} cells."
    )
    for name, page in (("report.html", _html), ("README.md", _markdown)):
        written.append(folder / name)
        replace_file(written[-1], page(title, about, tables, figures).encode())
    return written


def _html(
    title: str, about: str, tables: Sequence[Table], figures: Sequence[tuple[Path, str]]
) -> str:
    shown = "".join(
        '<figure><img src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for path, caption in figures
    )
    body = (
        f"<h1>{escape(title)}</h1><p>{escape(about)}</p>"
        + shown
        + "".join(table.to_html() for table in tables)
    )
    return whole_page(title, body, ".wide { overflow-x: auto; }")


def _markdown(
    title: str, about: str, tables: Sequence[Table], figures: Sequence[tuple[Path, str]]
) -> str:
    shown = [f"![{caption}]({path.name})\n\n*{caption}*\n" for path, caption in figures]
    parts = [f"# {title}\n", f"{about}\n", *shown, *(table.to_markdown() for table in tables)]
    return "\n".join(parts)

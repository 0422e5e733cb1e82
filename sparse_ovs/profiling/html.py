"""A profile as one self-contained HTML page: headline, bars of the contestants, stages, layers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from sparse_ovs.profiling.page import figures, whole_page
from sparse_ovs.profiling.record import Profile, stage_rows
from sparse_ovs.profiling.tables import (
    error_line,
    headline,
    layer_times_line,
    machine_line,
)


def write_html(
    profile: Profile,
    path: str | os.PathLike[str],
    notes: Sequence[str] = (),
    pictures: Sequence[tuple[str, str]] = (),
) -> None:
    """Writes the page.

    Args:
        notes: paragraphs shown under the headline.
        pictures: (file name beside the page, caption), shown before the tables.
    """
    Path(path).write_text(render_html(profile, notes, pictures), encoding="utf-8")


def render_html(
    profile: Profile, notes: Sequence[str] = (), pictures: Sequence[tuple[str, str]] = ()
) -> str:
    """The page as text; see write_html."""
    body = (
        f"<h1>{escape(headline(profile))}</h1>"
        f'<p class="machine">{escape(machine_line(profile))}; medians of '
        f"{profile.extras.rounds} interleaved rounds, ratio with its quartiles; "
        f"{escape(error_line(profile))}</p>"
        + "".join(f"<p>{escape(note)}</p>" for note in notes)
        + _contestants(profile)
        + figures(pictures)
        + _stages(profile)
        + _layers(profile)
    )
    return whole_page(f"sparse_ovs: {profile.model}", body)


def _contestants(profile: Profile) -> str:
    times = {f"dense, {name}": ms for name, ms in profile.dense_ms.items()}
    times |= {f"dense, {row.label}": row.ms for row in profile.int8_dense}
    if profile.fp32_ms is not None:
        times[f"sparse_ovs, {profile.mode}"] = profile.fp32_ms
    times[profile.ours] = profile.sparse_ms
    longest = max(ms for ms in times.values() if ms is not None)
    rows = []
    for name, ms in times.items():
        kind = "dense" if name.startswith("dense") else "sparse"
        shown = "could not be built" if ms is None else f"{ms:.1f}"
        rows.append(_row([name, shown], _bars(longest, {kind: ms or 0.0})))
    return "<h2>End to end</h2>" + _table(("encoder", "ms", ""), rows)


def _stages(profile: Profile) -> str:
    stages = stage_rows(profile)
    rest = profile.extras.between
    longest = max(max(row.ms_dense, row.ms_sparse) for row in stages)
    rows = [
        _row(
            [
                row.stage,
                f"{row.density:.3f}",
                f"{row.macs_dense / 1e9:.3f}",
                f"{row.macs_sparse / 1e9:.3f}",
                f"{row.bytes_dense / 1e6:.2f}",
                f"{row.bytes_sparse / 1e6:.2f}",
                f"{row.ms_dense:.2f}",
                f"{row.ms_sparse:.2f}",
            ],
            _bars(longest, {"dense": row.ms_dense, "sparse": row.ms_sparse}),
        )
        for row in stages
    ]
    blank = [""] * 5
    rows.append(_row([rest.stage, *blank, f"{rest.ms_dense:.2f}", f"{rest.ms_sparse:.2f}"], ""))
    names = ("stage", "density", "GMAC dense", "sparse", "MB dense", "sparse", "ms dense", "sparse")
    how = escape(layer_times_line(profile))
    return f"<h2>By stage ({how})</h2>" + _table((*names, ""), rows)


def _layers(profile: Profile) -> str:
    rows = [
        _row(
            [
                row.name,
                "x".join(map(str, row.shape)),
                f"{row.density:.3f}",
                f"{row.macs_dense / 1e6:.1f}",
                f"{row.macs_sparse / 1e6:.1f}",
                f"{row.ms_dense:.2f}",
                f"{row.ms_sparse:.2f}",
            ],
            escape(f"{row.backend}: {row.reason}" if row.reason else row.backend),
        )
        for row in profile.layers
    ]
    names = ("layer", "weight", "density", "MMAC dense", "sparse", "ms dense", "sparse", "backend")
    return "<h2>By layer</h2>" + _table(names, rows)


def _bars(longest: float, times: dict[str, float]) -> str:
    return "".join(
        f'<div class="bar {kind}" style="width:{100 * ms / longest:.1f}%"></div>'
        for kind, ms in times.items()
    )


def _row(cells: Sequence[str], last: str) -> str:
    """Cells are escaped; the last one is HTML."""
    plain = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr>{plain}<td class="{"bars" if last.startswith("<") else "text"}">{last}</td></tr>'


def _table(names: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"

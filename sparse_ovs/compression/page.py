"""A compression as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from sparse_ovs.compression.record import Report
from sparse_ovs.profiling.page import whole_page
from sparse_ovs.profiling.runtimes import INT8_DENSE

_MORE_STYLE = """
.wide { overflow-x: auto; } img { image-rendering: pixelated; }
.share { min-width: 9rem;
  background: linear-gradient(90deg, #1b8a5a55 var(--share), transparent var(--share)); }
"""


class _Bar(NamedTuple):
    """A number with a bar behind it, as long as its share of the column's largest."""

    text: str
    share: float


def report_page(
    report: Report, pictures: Sequence[bytes] = (), mask_pictures: Sequence[bytes] = ()
) -> str:
    """The page of one compression.

    Args:
        pictures: PNGs of `side_by_side`.
        mask_pictures: PNGs of `masks_side_by_side`.
    """
    masks = _figures(
        "An image held out, what each cell is by the dense encoder, and by ours.", mask_pictures
    )
    maps = _figures("An image held out, the dense encoder's last map, and ours.", pictures)
    return _page(
        report.headline(),
        [*summary_lines(report), *report.notes],
        masks + maps + _layers(report),
    )


def sweep_page(reports: Sequence[Report], picture: str | None) -> str:
    """The page of a sweep: a row for each compression.

    Args:
        picture: the name of a file beside the page; None without one.
    """
    rows: list[list[str | _Bar]] = []
    for report in reports:
        speed, quality = report.speed, report.quality
        rows.append(
            [
                f"{report.settings['target_speedup']:g}x",
                "" if speed is None else str(speed.speedup),
                f"{report.density:.3f}",
                f"{report.macs_share:.3f}",
                _number(quality.maps[-1] if quality.maps else None),
                _number(quality.embedding),
                _share(quality.classes),
                _share(quality.masks),
            ]
        )
    names = ("asked for", "measured", "density", "MACs", "cosine, last map", "embedding")
    drawn = ""
    if picture is not None:
        drawn = f'<figure><img src="{escape(picture)}" alt="quality against speed"></figure>'
    table = _table((*names, "same class", "same mask"), rows)
    return _page("Quality against measured speed", [], drawn + table)


def summary_lines(report: Report) -> list[str]:
    """What a reader wants to know first, a line each."""
    height, width = report.input_shape[2:]
    lines = [
        f"{report.images} images of {height}x{width} to compress on, {report.quality.images} held "
        f"out to judge by; {report.seconds:.0f} s, {report.peak_bytes / 1e9:.1f} GB at most"
    ]
    if report.skipped:
        lines.append(
            f"{len(report.skipped)} files left out, which could not be read: "
            + "; ".join(report.skipped)
        )
    if (speed := report.speed) is not None:
        lines.append(
            f"{speed.ms:.2f} ms against {speed.dense_ms:.2f} ms of the fastest dense torch in "
            f"fp32 ({speed.baseline}): {speed.speedup}"
        )
        for name, (ms, ratio) in speed.int8_dense.items():
            lines.append(f"against dense {INT8_DENSE[name].label}, {ms:.2f} ms: {ratio}")
    lines.append(_quality_line(report))
    if (repaired := report.repaired) is not None:
        why = "the time was up" if repaired.timed_out else "then nothing was gained any more"
        lines.append(
            f"repaired in {repaired.steps} steps, held-out loss {repaired.before:.4f} to "
            f"{repaired.after:.4f}; {why}"
        )
    return lines


def _figures(caption: str, pictures: Sequence[bytes]) -> str:
    if not pictures:
        return ""
    return f"<p>{escape(caption)}</p>" + "".join(
        f'<figure><img src="data:image/png;base64,{base64.b64encode(each).decode()}" '
        f'alt="{escape(caption)}"></figure>'
        for each in pictures
    )


def _quality_line(report: Report) -> str:
    quality = report.quality
    parts = [
        "cosines of outputs to the dense encoder's: " + ", ".join(f"{c:.4f}" for c in quality.maps)
    ]
    if quality.embedding is not None:
        parts.append(f"of the embedding {quality.embedding:.4f}")
    if quality.classes is not None:
        parts.append(f"the same class in {quality.classes:.1%} of the images")
    if quality.masks is not None:
        parts.append(f"the same class in {quality.masks:.1%} of the cells")
    return "; ".join(parts)


def _layers(report: Report) -> str:
    """A table whose bars are the picture: density, error and time, layer below layer."""
    layers = report.layers
    density = _bars([layer.density for layer in layers], ".3f")
    error = _bars([layer.error for layer in layers], ".4f")
    ms = _bars([layer.ms for layer in layers], ".3f")
    rows: list[list[str | _Bar]] = [
        [
            layer.name,
            "x".join(map(str, layer.shape)),
            f"{layer.macs / 1e6:.1f}",
            f"{layer.density * layer.macs / 1e6:.1f}",
            *bars,
        ]
        for layer, *bars in zip(layers, density, error, ms, strict=True)
    ]
    names = ("layer", "weight", "MMAC dense", "kept", "density", "relative error", "ms")
    return "<h2>By layer</h2>" + _table(names, rows)


def _bars(values: Sequence[float | None], shown: str) -> list[_Bar]:
    largest = max((value for value in values if value), default=1.0)
    return [
        _Bar("", 0.0) if value is None else _Bar(format(value, shown), value / largest)
        for value in values
    ]


def _page(title: str, lines: Sequence[str], body: str) -> str:
    text = f"<h1>{escape(title)}</h1>" + "".join(f"<p>{escape(line)}</p>" for line in lines)
    return whole_page(title, text + body, _MORE_STYLE)


def _table(names: Sequence[str], rows: Sequence[Sequence[str | _Bar]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        "</div>"
    )


def _cell(cell: str | _Bar) -> str:
    if isinstance(cell, _Bar):
        return f'<td class="share" style="--share: {cell.share:.1%}">{escape(cell.text)}</td>'
    return f"<td>{escape(cell)}</td>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"

"""Tables of text, as Markdown, CSV and HTML; means with their spread."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean, stdev

CHANCE = 0.05
"""Of a difference to be starred though there is none."""
DIFFERENCES = (
    "Points of mIoU: mean and standard deviation of the seeds' differences. *: told from zero by a "
    f"paired t test at {CHANCE:.0%}; so would one of {round(1 / CHANCE)} be by chance alone."
)
"""The note below tables of `difference`."""


@dataclass(frozen=True)
class Table:
    """Attributes: a file name without suffix, a title, columns, rows of text, notes below."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"expected rows of {len(self.columns)} cells in {self.name}, got {len(row)}"
                )

    def to_markdown(self) -> str:
        """A heading, the table, and its notes."""
        lines = [f"## {self.title}", "", _bar(self.columns), _bar(["---"] * len(self.columns))]
        lines += [_bar(row) for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """A row of columns, then the rows; notes are left out."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()

    def to_html(self) -> str:
        """A section."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f"<h2>{escape(self.title)}</h2><div class='wide'><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div>{notes}"
        )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation; the mean alone of one value, a dash of none."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def difference(a: Sequence[float], b: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation of a - b, pair by pair, with the sign; a star where the paired t
    test tells it from zero (see DIFFERENCES)."""
    from scipy.stats import t  # slow to import

    if not a:
        return "-"
    apart = [x - y for x, y in zip(a, b, strict=True)]
    middle = f"{mean(apart):+.{digits}f}"
    if len(apart) == 1:
        return middle
    least = t.ppf(1 - CHANCE / 2, len(apart) - 1) * stdev(apart) / len(apart) ** 0.5
    return f"{middle} ± {stdev(apart):.{digits}f}{' *' if abs(mean(apart)) > least else ''}"


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

"""Tables of text, as Markdown, CSV and HTML; means with their spread."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean, stdev

from sparse_ovs.reproduce.statistics import CHANCE, Paired, told_apart

DIFFERENCES = (
    "Points: mean ± standard deviation of the seeds' differences, and the interval that holds the "
    f"true mean with {1 - CHANCE:.0%} confidence (paired t test). *: told from zero at "
    f"{CHANCE:.0%} after Holm's correction for all rows of its group."
)
"""The note below tables of `difference_cells`."""


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


def difference_cells(family: Sequence[Paired | None], digits: int = 2) -> list[str]:
    """Differences of one family: mean and standard deviation with the sign, the interval of 95 %
    confidence, and a star where they are told from zero (see DIFFERENCES)."""
    return [
        "-" if one is None else _difference(one, star, digits)
        for one, star in zip(family, told_apart(family), strict=True)
    ]


def _difference(one: Paired, star: bool, digits: int) -> str:
    middle = f"{one.mean:+.{digits}f}"
    if one.deviation is None or one.half is None:
        return middle
    low, high = (f"{one.mean + side * one.half:+.{digits}f}" for side in (-1, 1))
    return f"{middle} ± {one.deviation:.{digits}f} ({low} to {high}){' *' if star else ''}"


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

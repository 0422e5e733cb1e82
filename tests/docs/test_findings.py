"""The documentation's report is that of its records, and its findings are those of the report."""

from __future__ import annotations

import re
from pathlib import Path

from sparse_ovs.reproduce.cells import Store, records
from sparse_ovs.reproduce.experiment import load_experiment
from sparse_ovs.reproduce.report import make_tables
from sparse_ovs.reproduce.run import cells_of

DOCS = Path(__file__).parents[2] / "docs"
MINI = DOCS / "reproduce" / "mini"


def test_the_run_came_to_its_end() -> None:
    done = {path.stem for path in (MINI / "cells").glob("*.json")}
    assert done == {cell.name.replace("/", ".") for cell in cells_of(load_experiment("mini"))}


def test_the_tables_are_those_of_the_records() -> None:
    experiment = load_experiment("mini")
    found = make_tables(experiment, records(cells_of(experiment), Store(MINI, experiment)))
    assert len(found) == 8
    for table in found:
        assert (MINI / "report" / f"{table.name}.md").read_text() == table.to_markdown()
        assert (MINI / "report" / f"{table.name}.csv").read_text() == table.to_csv()


def test_each_figure_with_a_spread_in_the_findings_stands_in_the_report() -> None:
    report = (MINI / "report" / "README.md").read_text()
    told = re.findall(r"[+-]?[\d.]+ ± [\d.]+\d", (DOCS / "findings.md").read_text())
    assert len(told) > 30
    assert [figure for figure in told if figure not in report] == []

"""The documentation's report is that of its records, and its findings are those of the reports."""

from __future__ import annotations

import re
from pathlib import Path

from sparse_ovs.reproduce.cells import Store, records
from sparse_ovs.reproduce.encoders import ARMS, DENSE, encoder_cell_name
from sparse_ovs.reproduce.experiment import load_experiment
from sparse_ovs.reproduce.report import make_tables
from sparse_ovs.reproduce.run import cells_of

DOCS = Path(__file__).parents[2] / "docs"
MINI = DOCS / "reproduce" / "mini"


def test_all_arms_at_the_heads_density_have_the_same_seeds_at_least_three() -> None:
    experiment = load_experiment("mini")
    store = Store(MINI, experiment)
    assert store.read(encoder_cell_name(DENSE, 1.0, 0)) is not None
    done = {
        arm: {
            seed
            for seed in range(experiment.seeds)
            if store.read(encoder_cell_name(arm, experiment.density, seed)) is not None
        }
        for arm in ARMS
        if arm != DENSE
    }
    assert len({frozenset(seeds) for seeds in done.values()}) == 1
    assert len(done["imp"]) >= 3


def test_the_tables_are_those_of_the_records() -> None:
    experiment = load_experiment("mini")
    found = make_tables(experiment, records(cells_of(experiment), Store(MINI, experiment)))
    assert found
    for table in found:
        assert (MINI / "report" / f"{table.name}.md").read_text() == table.to_markdown()
        assert (MINI / "report" / f"{table.name}.csv").read_text() == table.to_csv()


def test_each_figure_with_a_spread_in_the_findings_stands_in_a_report() -> None:
    reports = "".join(
        (DOCS / "reproduce" / name / "report" / "README.md").read_text()
        for name in ("mini", "scenes")
    )
    told = re.findall(r"[+-]?[\d.]+ ± [\d.]+\d", (DOCS / "findings.md").read_text())
    assert len(told) > 30
    assert [figure for figure in told if figure not in reports] == []

"""Tables say what their records say."""

from __future__ import annotations

from typing import Any

import pytest

from sparse_ovs.reproduce.cost_tables import cost_tables
from sparse_ovs.reproduce.encoder_tables import encoder_differences, encoder_table
from sparse_ovs.reproduce.experiment import Experiment, NamingPlan, TransferPlan
from sparse_ovs.reproduce.statistics import paired
from sparse_ovs.reproduce.tables import Table, difference_cells, spread
from sparse_ovs.reproduce.transfer_tables import transfer_differences, transfer_table
from sparse_ovs.reproduce.tuning_tables import tuning_differences, tuning_table

EXPERIMENT = Experiment(
    seeds=2,
    scores={"seen": {"dataset": "scenes", "part": "seen"}},
    naming=NamingPlan(["val"], 4),
    transfer=TransferPlan(recipes={"maskformer": "emoji-maskformer"}),
)


def trained(score: float, **more: Any) -> dict[str, Any]:
    return {
        "scores": {"seen": score},
        "encoder_weights": 36_000,
        "head_parameters": 400_000,
        "macs": 25e6,
        "steps": 10,
        "images": 4,
        "step_macs": 50e6,
        "step_macs_paper": 60e6,
        "step_macs_encoder": 5e6,
        "seconds_a_step": 0.6,
        "cpu_seconds_a_step": 0.5,
        "frozen": ["a", "b"],
        "frozen_macs": 0.25,
        **more,
    }


def test_a_mean_has_its_spread() -> None:
    assert spread([1.0, 2.0, 3.0]) == "2.00 ± 1.00"
    assert spread([1.5], 1) == "1.5"
    assert spread([]) == "-"


def test_a_difference_has_its_interval_and_a_star_where_it_is_told() -> None:
    # With three seeds t must be over 4.303; here it is 4.33 and 4.26.
    assert difference_cells([paired([0.90, 2.10, 1.5], [0.0, 0.0, 0.0])]) == [
        "+1.50 ± 0.60 (+0.01 to +2.99) *"
    ]
    assert difference_cells([paired([0.89, 2.11, 1.5], [0.0, 0.0, 0.0])]) == [
        "+1.50 ± 0.61 (-0.02 to +3.02)"
    ]


def test_differences_of_one_family_are_corrected_together() -> None:
    barely = paired([0.90, 2.10, 1.5], [0.0, 0.0, 0.0])
    both = difference_cells([barely, paired([0.1, -0.1, 0.3], [0.0, 0.0, 0.0])])
    assert not any(cell.endswith("*") for cell in both)


def test_differences_without_spread_or_seeds_are_told_as_such() -> None:
    assert difference_cells([None, paired([1.0], [2.0])]) == ["-", "-1.00"]


def test_a_table_is_written_three_ways() -> None:
    table = Table("t", "Title", ("a", "b"), (("1|2", "<x>"),), ("Note.",))
    assert table.to_markdown() == (
        "## Title\n\n| a | b |\n| --- | --- |\n| 1\\|2 | <x> |\n\nNote.\n"
    )
    assert table.to_csv() == "a,b\n1|2,<x>\n"
    assert "<td>&lt;x&gt;</td>" in table.to_html()


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="expected rows of 2 cells in t, got 1"):
        Table("t", "Title", ("a", "b"), (("1",),))


def test_the_transfer_table_has_means_spread_and_times() -> None:
    records = {
        "transfer/maskformer/imp/0": trained(0.10),
        "transfer/maskformer/imp/1": trained(0.14),
        "timing/encoders": {
            "machine": {"cpu": "X", "isa": "avx2", "threads": 1, "torch": "2"},
            "own": {
                "baseline": "frozen",
                "arms": {
                    "imp": {"ms": 2.0, "ratio": 3.0, "low": 2.9, "high": 3.1},
                    "frozen": {"ms": 6.0, "ratio": 1.0, "low": 1.0, "high": 1.0},
                },
            },
        },
    }
    table = transfer_table(EXPERIMENT, records)
    assert table.rows == (
        (
            *("maskformer", "IMP", "12.00 ± 2.83", "36", "400", "25.0", "2.00"),
            "3.00 (2.90 to 3.10)",
        ),
    )
    assert "fastest dense torch (frozen: 6.00 ms)" in table.notes[0]


def test_transfer_differences_leave_out_seeds_that_one_arm_lacks() -> None:
    records = {
        "transfer/maskformer/imp/0": trained(0.10),
        "transfer/maskformer/imp/1": trained(0.14),
        "transfer/maskformer/oneshot/1": trained(0.13),
    }
    rows = transfer_differences(EXPERIMENT, records).rows
    found = {row[1]: row[2] for row in rows if row[0] == "maskformer"}
    assert found["IMP less one-shot magnitude"] == "+1.00"
    assert found["IMP less dense"] == "-"


def test_differences_in_all_heads_are_means_of_the_seeds_that_all_have() -> None:
    two = Experiment(
        seeds=2,
        scores=EXPERIMENT.scores,
        transfer=TransferPlan(recipes={"maskformer": "m", "fcclip": "f"}),
    )
    records = {
        "transfer/maskformer/imp/0": trained(0.10),
        "transfer/maskformer/oneshot/0": trained(0.09),
        "transfer/fcclip/imp/0": trained(0.20),
        "transfer/fcclip/oneshot/0": trained(0.17),
        "transfer/maskformer/imp/1": trained(0.14),
        "transfer/maskformer/oneshot/1": trained(0.10),
    }
    found = {row[:2]: row[2] for row in transfer_differences(two, records).rows}
    one = found["maskformer", "IMP less one-shot magnitude"]
    assert one == "+2.50 ± 2.12 (-16.56 to +21.56)"
    assert found["mean of heads", "IMP less one-shot magnitude"] == "+2.00"


def test_the_encoder_table_has_what_is_named_before_and_after_repair() -> None:
    records = {
        "encoders/dense/1/0": {"names": {"val": 0.5}},
        "encoders/imp/0.1/0": named(0.2, 0.40),
        "encoders/imp/0.1/1": named(0.3, 0.44),
        "encoders/oneshot/0.1/1": named(0.1, 0.41),
    }
    table = encoder_table(EXPERIMENT, records)
    assert table.columns[3:5] == ("val, before repair", "val")
    assert table.rows == (
        ("1", "dense", "100.0", "-", "50.00", "1"),
        ("0.1", "IMP", "15.0", "25.00 ± 7.07", "42.00 ± 2.83", "2"),
        ("0.1", "one-shot magnitude", "15.0", "10.00", "41.00", "1"),
    )
    found = {row[1]: row[2:] for row in encoder_differences(EXPERIMENT, records).rows}
    assert found["IMP less dense"] == ("-8.00 ± 2.83 (-33.41 to +17.41)", "65")
    assert found["IMP less one-shot magnitude"] == ("+3.00", "-")


def named(before: float, after: float) -> dict[str, Any]:
    return {"names_before": {"val": before}, "names": {"val": after}, "macs_kept": 0.15}


def test_the_tuning_table_counts_the_part_with_frozen_layers() -> None:
    records = {
        "tuning/dense/alpha/0": trained(0.2),
        "tuning/dense/full/0": trained(0.1),
        "tuning/dense/alpha-reversed/0": trained(0.3),
    }
    rows = tuning_table(EXPERIMENT, records).rows
    assert [row[:6] for row in rows] == [
        ("dense", title, "2", "25.0", "0.002", "0.002")
        for title in ("nothing frozen", "alpha, 50 %", "alpha*, reversed")
    ]
    assert rows[1][6:] == ("0.0002", "600", "500", "20.00")
    apart = tuning_differences(EXPERIMENT, records).rows
    differences = {row[1]: row[2] for row in apart if row[0] == "dense"}
    assert differences["alpha, 50 % less nothing frozen"] == "+10.00"
    assert differences["alpha, 50 % less alpha*, reversed"] == "-10.00"


def test_trainings_too_short_to_be_timed_have_a_dash() -> None:
    untimed = {key: value for key, value in trained(0.2).items() if "seconds" not in key}
    rows = tuning_table(EXPERIMENT, {"tuning/dense/alpha/0": untimed}).rows
    assert rows[0][7:] == ("-", "-", "20.00")


def test_the_cost_table_gives_the_papers_savings_from_exact_counts() -> None:
    step = {"forward": 0.0, "input_gradient": 0.0, "weight_gradient": 0.0, "paper_total": 0.0}
    trunk = {
        "macs": 28.04e9,
        "frozen_macs": 19.38e9,
        "dense": {**step, "total": 84e9},
        "frozen": {**step, "total": 65e9},
        "sparse": {**step, "total": 20e9},
        "sparse, frozen": {**step, "total": 14e9},
    }
    counts = {
        "size": 512,
        "model_size": [800, 1216],
        "trunk": {"uniform": trunk, "trained": trunk},
        "models": {},
    }
    saved = cost_tables({"cost/counts": counts})[0]
    assert saved.rows == (
        ("frozen", "21.8", "21.71", "21.28", "21.28"),
        ("sparse, frozen", "59.2", "58.70", "78.40", "78.40"),
    )

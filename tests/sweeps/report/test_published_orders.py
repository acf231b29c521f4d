"""Published beside measured: which orders of a paper the measured cells confirm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from published_tables import framed, paper, rows, sections, value
from report_tables import Made, cell_named, evidence, make, plan, small, with_scores

from spurious.config.datasets import GaussianSquares
from spurious.config.options import Specificity
from spurious.squares.images import measure_squares
from sweeps.report.evidence import Evidence
from sweeps.report.inference.intervals import Interval
from sweeps.report.inference.orders import judge_orders
from sweeps.report.published import Judged, published_frame
from sweeps.report.published_orders import describe_needed, table_orders
from sweeps.report.published_words import published_sections
from sweeps.spec.papers import PublishedTable, find


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels (erm, jtt), boxes and masks (erm) on 600 and on all images, three seeds each."""
    return small()


def sentences(made: Made, table: PublishedTable) -> list[str]:
    """What the page says of the order of robust AUROC."""
    [section] = sections(made, table)
    [metric] = [metric for metric in section["metrics"] if metric["name"] == "Robust AUROC"]
    found: list[str] = metric["orders"]
    return found


LABELS, MASKS = ("label", "600", "erm"), ("mask", "600", "erm")
PAIR = "    values:\n" + value("label", "600", 0.46, 0.01) + value("mask", "600", 0.82, 0.02)
ABOVE = {LABELS: [0.79, 0.80, 0.81], MASKS: [0.59, 0.6, 0.61]}


def test_a_reversed_pair_is_told_in_a_sentence(made: Made) -> None:
    """A paired difference in the other order: both cells, all numbers and the interval."""
    planted = with_scores(made, ABOVE)
    counted, told = sentences(planted, paper(PAIR))
    assert counted == (
        "1 pair of cells has an order by robust AUROC in Table 9. By paired differences, with "
        "Holm's correction within the table: confirmed 0, contradicted 1, not decided 0."
    )
    difference = evidence(planted)[2].difference(MASKS, LABELS, "robust_auroc")
    assert told == (
        f"Labels on 600 images, trained with erm: measured robust AUROC 0.800, above 0.600 of "
        f"masks on 600 images, trained with erm; the paired difference is 0.200 (95 % interval "
        f"{difference.low:.3f} to {difference.high:.3f}). Table 9 has it the other way round: "
        f"0.460 ± 0.010 below 0.820 ± 0.020."
    )


@pytest.mark.parametrize(
    ("label", "mask", "counts", "needed"),
    [
        ([0.59, 0.60, 0.61], [0.79, 0.80, 0.81], "confirmed 1, contradicted 0", None),
        # seeds that share their noise: intervals overlap, the paired difference does not
        ([0.50, 0.60, 0.70], [0.60, 0.71, 0.80], "confirmed 1, contradicted 0", None),
        ([0.50, 0.60, 0.70], [0.70, 0.62, 0.66], "not decided 1", "would need about 20 seeds"),
        ([0.60, 0.61, 0.62], [0.60, 0.611, 0.62], "not decided 1", "need about 19,900 images"),
        ([np.nan, np.nan, 0.9], [0.1, 0.1, 0.1], "not decided 1", "no interval: fewer than 3"),
    ],
)
def test_other_pairs_are_counted_and_say_what_they_need(
    made: Made, label: list[float], mask: list[float], counts: str, needed: str | None
) -> None:
    """Same order, a small difference, or a single seed: no accusation."""
    counted, *more = sentences(with_scores(made, {LABELS: label, MASKS: mask}), paper(PAIR))
    assert counts in counted
    if needed is None:
        assert more == []
    else:
        [text] = more
        assert text.startswith("Not decided: masks on 600 images, trained with erm above labels")
        assert needed in text


def test_a_missing_seed_is_named_in_the_sentence(made: Made) -> None:
    """Two of three seeds of one side: no interval, and which seed is missing."""
    planted = with_scores(made, ABOVE)
    mine = made.trials[(made.trials["specificity"] == "mask") & (made.trials["budget"] == "600")]
    holed = replace(planted, trials=made.trials.drop(mine[mine["seed"] == 2].index))
    _, told = sentences(holed, paper(PAIR))
    assert "masks on 600 images, trained with erm, without seed 2 above labels" in told
    assert "no interval: fewer than 3 seeds" in told


def test_holm_corrects_within_the_table(made: Made) -> None:
    """A pair that is decided alone is not beside many that are not."""
    scores = {LABELS: [0.60, 0.62, 0.61], MASKS: [0.70, 0.80, 0.75]}
    one = with_scores(made, scores)
    assert "confirmed 1," in sentences(one, paper(PAIR))[0]
    many = PAIR + "".join(
        value(kind, budget, 0.5 + 0.01 * place, 0.01, method)
        for place, (kind, budget, method) in enumerate(
            [("label", "all", "erm"), ("label", "all", "jtt"), ("box", "all", "erm")]
        )
    )
    counted = sentences(one, paper(many))[0]
    assert counted.startswith("10 pairs of cells")
    assert "masks on 600 images, trained with erm above labels on 600 images, trained" in " ".join(
        sentences(one, paper(many))[1:]
    )


def test_a_weak_order_of_the_paper_is_called_so(made: Made) -> None:
    """Where the paper's own t-intervals overlap, the sentence says it."""
    near = (
        "    values:\n" + value("label", "600", 0.654, 0.035) + value("mask", "600", 0.656, 0.038)
    )
    _, told = sentences(with_scores(made, ABOVE), paper(near))
    assert told.endswith(
        "0.654 ± 0.035 below 0.656 ± 0.038, where the paper's own 95 % intervals overlap."
    )
    equal = "    values:\n" + value("label", "600", 0.65, 0.01) + value("mask", "600", 0.65, 0.01)
    assert sentences(with_scores(made, ABOVE), paper(equal)) == []


def test_an_order_without_numbers_can_be_contradicted(made: Made) -> None:
    """Three ranked cells are three pairs; the page shows places instead of numbers."""
    text = (
        "    orders:\n      - {dataset: siim-acr, budget: all, method: erm, metric: robust_auroc, "
        "rising: [label, box, mask]}\n"
    )
    scores = {
        ("label", "all", "erm"): [0.44, 0.45, 0.46],
        ("box", "all", "erm"): [0.89, 0.90, 0.91],
        ("mask", "all", "erm"): [0.69, 0.70, 0.715],
    }
    planted = with_scores(made, scores)
    counted, told = sentences(planted, paper(text))
    assert counted.startswith("3 pairs of cells")
    assert "confirmed 2, contradicted 1" in counted
    assert told.startswith("Boxes on all images, trained with erm: measured robust AUROC 0.900")
    assert told.endswith("Table 9 has it the other way round, without numbers.")
    [section] = sections(planted, paper(text))
    assert [row["published"] for row in section["metrics"][0]["rows"]] == [
        f"place {rank} of 3, 1 the lowest" for rank in (1, 2, 3)
    ]


def orders(metric: str, rows: list[dict[str, Any]]) -> list[str]:
    """The sentences on rows of one table and metric that has no readings."""
    columns = ["specificity", "budget", "method", "seed", "trial_id", "epoch"]
    columns += ["test_auroc", "test_robust_auroc"]
    nothing = Evidence(pd.DataFrame(columns=columns), {})
    return table_orders("Table 3", {metric: rows}, nothing)[metric]


def test_cells_of_one_published_number_have_no_order() -> None:
    """Two option sets of one method are not a pair that the paper orders."""
    common = {"published_rank": None, "published_mean": 0.5, "counterpart": "both", "measured_n": 3}
    assert orders("dice", [common, dict(common)]) == []


def image_row(specificity: str, mean: float, **changes: Any) -> dict[str, Any]:
    """A row of the variance measure of all images, the same in three seeds."""
    row = {
        **{"specificity": specificity, "budget": "all", "method": "erm", "counterpart": "both"},
        **{"published_rank": None, "published_mean": {"label": 0.99, "box": 0.47}[specificity]},
        **{"published_sd": np.nan, "published_seeds": None, "measured_n": 3},
        **{"measured_mean": mean, "measured_low": np.nan, "measured_high": np.nan},
        **{"seeds": dict.fromkeys(range(3), mean), "cell": cell_named(specificity, "all", "erm")},
        "holes": (),
    }
    return row | changes


def test_one_set_of_images_decides_no_order() -> None:
    """Equal values in every seed are one draw: left open, with what the draw says."""
    one, other = image_row("label", 0.4), image_row("box", 0.5)
    assert orders("variance_measure", [one, other]) == [
        "1 pair of annotations has an order by variance of abnormal pixels in Table 3. Every seed "
        "has the same images, so the measured values are one draw without an interval: 1 left "
        "open; the values are in the paper's order in 0."
    ]
    [told] = orders("variance_measure", [one, image_row("box", 0.3)])
    assert told.endswith("the values are in the paper's order in 1.")


def test_a_property_of_images_is_counted_once_whatever_trains_on_them() -> None:
    """Not once for each pair of methods, and never across budgets."""
    ends = {"measured_low": 0.39, "measured_high": 0.41}
    rows = [
        image_row(specificity, 0.4, budget=budget, method=method, **ends)
        for specificity in ("label", "box")
        for budget in ("600", "1100")
        for method in ("erm", "jtt")
    ]
    counted, open_ones = orders("variance_measure", rows)
    assert counted.startswith("2 pairs of cells have an order")
    assert "not decided 2. These differences are over seeds alone" in counted
    assert open_ones.count("no interval: seeds do not differ") == 2


def test_seeds_of_the_same_images_are_one_draw() -> None:
    """The table has their mean and number, and no interval; seeds that differ have one."""
    made = make(plan(specificities=("label", "box"), budgets=("all",), methods=("erm",)))
    more = [
        {
            **{name: trial[name] for name in ("trial_id", "attempt")},
            **{"epoch": 6, "split": "train", "metric": "variance_measure", "attribute": None},
            "value": 0.9 if trial["specificity"] == "label" else 0.4 + 0.1 * trial["seed"],
        }
        for trial in made.trials.to_dict("records")
    ]
    made = replace(made, epochs=pd.concat([made.epochs, pd.DataFrame(more)]))
    table3 = find("saab2022/table3", "siim-acr")
    assert table3 is not None
    frame = framed(made, table3)
    [same] = rows(frame, specificity="label")
    assert (same["measured_n"], same["measured_mean"]) == (3, pytest.approx(0.9))
    assert all(np.isnan(same[f"measured_{name}"]) for name in ("sd", "low", "high"))
    [differing] = rows(frame, specificity="box")
    assert differing["measured_sd"] == pytest.approx(0.1)
    assert differing["measured_low"] < 0.5 < differing["measured_high"]


def test_information_is_measured_on_the_squares_themselves() -> None:
    """Beside Figure 3's order: one value a specificity, on images that are drawn again."""
    made = make(plan(specificities=("r=1", "r=40"), budgets=("all",), methods=("erm",)))
    figure3 = find("saab2022/figure3", "gaussian-squares")
    assert figure3 is not None
    priced, cells, rests_on = evidence(made)
    judged = {None: Judged(priced, rests_on)}
    frame = published_frame([figure3], cells, judged, made.epochs, GaussianSquares())
    expected = measure_squares(GaussianSquares(), (Specificity("r", r=1),)).by_specificity
    [coarse] = rows(frame, metric="mutual_information", specificity="r=1")
    assert coarse["measured_mean"] == next(iter(expected.values())).mi > 0.003
    assert (coarse["measured_n"], coarse["counterpart"]) == (1, "both")
    assert np.isnan(coarse["measured_low"])
    [fine] = rows(frame, metric="mutual_information", specificity="r=40")
    assert fine["measured_mean"] == 0.0
    [section] = published_sections([figure3], frame, judged)
    [metric] = [m for m in section["metrics"] if m["name"].startswith("Mutual information")]
    assert metric["orders"][0].endswith("1 left open; the values are in the paper's order in 1.")


def test_what_the_correction_alone_keeps_open_says_so() -> None:
    """Five differences of p = 0.03: none holds together, and each would alone."""
    seeds, df = (0.04, 0.05, 0.06), 1e6
    se = 0.05 / 2.17  # a normal quantile: p is 0.03
    one = Interval(seeds, 0.05, 0.05 - 1.96 * se, 0.05 + 1.96 * se, se, df, "two-sided")
    [alone] = judge_orders([one])
    assert alone.verdict == "confirmed"
    for difference in (one, replace(one, mean=-one.mean, low=-one.high, high=-one.low)):
        judged = judge_orders([difference] * 5)
        assert {order.verdict for order in judged} == {"not decided"}
        assert describe_needed(judged[0], 100) == "decided alone, not with the table's correction"

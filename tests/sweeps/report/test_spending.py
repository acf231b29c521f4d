"""What each sum reaches: the table from the draws, and its rows on the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tables import PLANTED, Made, evidence, make, plan, report_input, small, with_scores

from spurious.config.options import Prices
from sweeps.report.build import build_report
from sweeps.report.offers import find_offers
from sweeps.report.probabilities import attainment_frame
from sweeps.report.spending import spending_context

LABELS, BOXES, MASKS = PLANTED


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels, boxes and masks on 600 and on all images, three seeds each."""
    return with_scores(small(), PLANTED)


def test_the_table_agrees_with_the_cells(made: Made) -> None:
    """Its last sum has every cell's P(best) and regret; a larger sum reaches no less."""
    _, table, rests_on = evidence(made)
    frame = attainment_frame(table, rests_on)
    last = frame[frame["dollars"] == frame["dollars"].max()]
    merged = last.merge(table, on=["specificity", "budget", "method"], suffixes=("", "_cell"))
    assert len(merged) == len(last) == (table["best_probability"] > 0).sum()
    for name in ("best_probability", "expected_regret"):
        np.testing.assert_allclose(merged[name], merged[f"{name}_cell"])
    np.testing.assert_allclose(frame.groupby("dollars")["best_probability"].sum(), 1.0)
    sums = frame.drop_duplicates("dollars")
    ends = sums[["attained_low", "attained_median", "attained_high"]].to_numpy()
    assert (np.diff(ends, axis=0) >= 0).all()
    assert (np.diff(ends, axis=1) >= 0).all()
    assert ((ends >= 0) & (ends <= 1)).all()


def test_rows_name_what_a_sum_buys(made: Made) -> None:
    """Boxes up to the price of masks, then masks, each with its share; lesser sums are left out."""
    table, context = spent(made)
    rows = context["spending"]
    found = [(row["dollars"], row["first"]) for row in rows]
    assert found[-2:] == [
        ("$30.33", "boxes on 600 images, trained with erm"),
        ("$4,027", "masks on all images, trained with erm"),
    ]
    assert rows[-2]["probability"] == "1.00"
    assert rows[-2]["runners_up"].endswith("(0.00)")
    share = table.set_index(["specificity", "budget", "method"])["best_probability"]
    assert rows[-1]["probability"] == f"{share[MASKS]:.2f}"
    alone = _words(make(plan(("box",), ("600",), ("erm",))))
    assert "no other ranked purchase with an interval costs so little" in alone
    assert rows[-1]["runners_up"] == f"boxes on 600 images, trained with erm ({share[BOXES]:.2f})"


def test_missing_seeds_and_intervals_are_named(made: Made) -> None:
    """A hole stands beside the name; seeds that fall apart have a share and no name."""
    gone = made.trials["trial_id"][
        (made.trials["specificity"] == "box")
        & (made.trials["budget"] == "600")
        & (made.trials["seed"] == 1)
    ]
    partial = replace(made, trials=made.trials[~made.trials["trial_id"].isin(gone)])
    assert "boxes on 600 images" not in _words(partial)  # two seeds have no interval
    torn = with_scores(made, PLANTED | {MASKS: [0.99, 0.95, 0.3]})
    text = _words(torn)
    assert "masks on all images" not in text
    assert "purchases without an interval (" in text
    later = (made.trials["specificity"] == "mask") & (made.trials["seed"] > 0)
    alone = replace(made, trials=made.trials[~later])
    assert "2 purchases without two seeds with stored predictions are in no draw" in _words(alone)
    planned = [*made.planned, replace(made.planned[-1], seed=3, trial_id="f" * 16)]
    assert "masks on all images, trained with erm, without seed 3" in _words(
        replace(made, planned=tuple(planned))
    )


def spent(made: Made) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The cells, and what the page says of sums."""
    priced, table, rests_on = evidence(made)
    offers, attained = find_offers(priced, table, rests_on), attainment_frame(table, rests_on)
    axis = ("training", "spurious_labels")
    return table, spending_context(offers, table, attained, rests_on, Prices(), axis)


def _words(made: Made) -> str:
    _, context = spent(made)
    rows = [" ".join(row.values()) for row in context["spending"]]
    return "\n".join([*rows, context["spending_note"]])


def test_page_and_text_have_the_rows(made: Made, tmp_path: Path) -> None:
    """And say so where there are no draws, which come from predictions."""
    files = build_report(report_input(made), tmp_path / "out")
    for path in (files.page, files.text):
        text = path.read_text()
        assert "With your money, buy this" in text
        assert "highest mean robust AUROC of those that cost no more" in text
        assert "expected regret" in text.lower()
    table = pd.read_parquet(files.attainment)
    assert table["dollars"].is_monotonic_increasing
    _, table, rests_on = evidence(made, readings={})
    frame = attainment_frame(table, rests_on)
    assert frame.empty
    context = spending_context(None, table, frame, rests_on, Prices(), ("training",))
    assert context["spending"] == []
    assert context["spending_note"].startswith("Not known: no ranked")

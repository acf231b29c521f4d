"""Methods against ERM on the same annotation: verdicts, what would decide, and who is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from report_tables import Made, evidence, make, plan, report_input, with_scores

from sweeps.report.build import build_report
from sweeps.report.inference.orders import judge_orders
from sweeps.report.method_orders import method_context

ERM, JTT = ("label", "600", "erm"), ("label", "600", "jtt")


def planted() -> Made:
    """On 600 labels JTT is above ERM in every seed, GEORGE below and noisy; boxes have no pair."""
    planned = (
        *plan(("label",), ("600",), ("erm", "jtt", "george")),
        *plan(("box",), ("600",), ("erm",)),
        *plan(("mask",), ("600",), ("ssl", "spl")),
    )
    scores = {
        ERM: [0.60, 0.61, 0.62],
        JTT: [0.75, 0.765, 0.77],
        ("label", "600", "george"): [0.62, 0.55, 0.60],
    }
    return with_scores(make(planned), scores)


def test_verdicts_are_those_of_paired_differences() -> None:
    """As `judge_orders` of both pairs; annotation without ERM, or with ERM alone, has no row."""
    _, table, rests_on = evidence(planted())
    above, below = method_context(table, rests_on)["method_orders"]
    keys = [("label", "600", name) for name in ("george", "jtt")]
    george, jtt = judge_orders([rests_on.difference(ERM, key, "robust_auroc") for key in keys])
    assert (jtt.verdict, george.verdict) == ("confirmed", "not decided")
    rows = {row["method"]: row for row in (above, below)}
    low, high = jtt.difference.low, jtt.difference.high
    assert rows["jtt"]["robust"] == f"0.152 ({low:.3f} to {high:.3f})"
    assert rows["jtt"]["verdict"] == "above"
    assert rows["george"]["robust"].startswith("\N{MINUS SIGN}0.020 (")
    assert rows["george"]["verdict"].startswith("not decided (")
    assert "would" in rows["george"]["verdict"]
    reversed_scores = {ERM: [0.75, 0.765, 0.77], JTT: [0.60, 0.61, 0.62]}
    _, table, rests_on = evidence(with_scores(planted(), reversed_scores))
    verdicts = {
        row["method"]: row["verdict"] for row in method_context(table, rests_on)["method_orders"]
    }
    assert verdicts["jtt"] == "below"


def test_holes_are_named_and_the_page_has_the_rows(tmp_path: Path) -> None:
    """A method that lacks a seed says so, on the page and in the text."""
    whole = planted()
    gone = (whole.trials["method"] == "jtt") & (whole.trials["seed"] == 1)
    partial = replace(whole, trials=whole.trials[~gone])
    files = build_report(report_input(partial), tmp_path)
    for path in (files.page, files.text):
        text = path.read_text()
        assert "Methods against ERM" in text
        assert "jtt, without seed 1" in text
        assert "no interval: fewer than 3 seeds" in text

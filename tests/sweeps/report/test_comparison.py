"""Two sweeps side by side: paired where they can be, judged together, and said truly."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tables import Made, make, plan, readings, report_input, with_scores
from scipy import stats

from sweeps.report.comparison.build import build_comparison
from sweeps.report.comparison.frame import SAME, Side, comparison_frame
from sweeps.report.comparison.words import answer, caveats, find_differences
from sweeps.report.tables import ReportInput

SPECIFICITIES = ("label", "box", "r=4", "r=8", "r=16", "mask")
LOW = {(s, "600", "erm"): [0.60, 0.61, 0.62] for s in SPECIFICITIES}
HIGH = {
    ("label", "600", "erm"): [0.601, 0.609, 0.622],  # not decided
    ("box", "600", "erm"): [0.80, 0.81, 0.83],
    ("r=4", "600", "erm"): [0.76, 0.78, 0.77],
    ("r=8", "600", "erm"): [0.605, 0.61, 0.62],
    ("r=16", "600", "erm"): [0.6, 0.611, 0.618],
    ("mask", "600", "erm"): [0.50, 0.49, 0.52],
}


def sweep(
    scores: dict[tuple[str, str, str], list[float]], name: str, **changes: Any
) -> ReportInput:
    """A sweep of six purchases with these robust AUROCs, whose trials are its own."""
    made = with_scores(make(plan(SPECIFICITIES, ("600",), ("erm",))), scores)
    other = {old: f"{int(old, 16) ^ hash_of(name):016x}" for old in made.trials["trial_id"]}
    renamed = Made(
        made.trials.assign(trial_id=made.trials["trial_id"].map(other)),
        made.epochs.assign(trial_id=made.epochs["trial_id"].map(other)),
        made.failures,
        tuple(replace(one, trial_id=other[str(one.trial_id)]) for one in made.planned),
    )
    given = report_input(renamed, **changes)
    return replace(given, provenance=replace(given.provenance, sweep=name))


def hash_of(name: str) -> int:
    """A number of a name."""
    return sum(ord(letter) << (8 * place) for place, letter in enumerate(name[:7]))


def on_other_images(given: ReportInput) -> ReportInput:
    """The same, scored on another hospital's images."""
    moved = {
        of: {metric: replace(one, images=f"other {metric}") for metric, one in taken.items()}
        for of, taken in given.readings.items()
    }
    return replace(given, readings=moved)


@pytest.fixture(scope="module")
def sides() -> tuple[Side, Side]:
    """Two purchases higher, one lower, three not decided."""
    return Side.of(sweep(LOW, "before")), Side.of(sweep(HIGH, "after"))


def by_purchase(frame: pd.DataFrame, metric: str = "robust_auroc") -> dict[str, dict[str, Any]]:
    """Rows of a metric by specificity."""
    rows = frame[frame["metric"] == metric].to_dict("records")
    return {str(row["specificity"]): {str(k): v for k, v in row.items()} for row in rows}


def test_differences_are_paired_by_seed_and_image(sides: tuple[Side, Side]) -> None:
    """Second minus first; the limits are those of one sweep with both cells."""
    rows = by_purchase(comparison_frame(*sides))
    for specificity, row in rows.items():
        key = (specificity, "600", "erm")
        expected = np.mean(HIGH[key]) - np.mean(LOW[key])
        assert row["difference"] == pytest.approx(expected)
        assert row["paired"]
        assert row["low"] < expected < row["high"]
        assert row["first_mean"] == pytest.approx(np.mean(LOW[key]))
        assert (row["first_seeds"], row["second_seeds"]) == (3, 3)
    verdicts = {specificity: row["verdict"] for specificity, row in rows.items()}
    none = dict.fromkeys(("label", "r=8", "r=16"), "not decided")
    assert verdicts == {**none, "box": "higher", "r=4": "higher", "mask": "lower"}


def test_other_images_are_compared_as_independent_groups(sides: tuple[Side, Side]) -> None:
    """By Welch's formula on the standard errors behind both intervals."""
    first, second = sides[0], Side.of(on_other_images(sides[1].source))
    rows = by_purchase(comparison_frame(first, second))
    for specificity, row in rows.items():
        key = (specificity, "600", "erm")
        errors = []
        for side in ("first", "second"):
            values = np.array((LOW if side == "first" else HIGH)[key])
            parts = components(first if side == "first" else second, key)
            ms, variances = values.var(ddof=1), np.square(parts).sum()
            covariance = (np.square(parts.sum(axis=0)).sum() - variances) / 6
            se2 = ms / 3 + max(covariance, 0.0)
            df = 2 * (1 + 3 * max(covariance, 0.0) / ms) ** 2
            errors.append((se2, df))
        total = sum(se2 for se2, _ in errors)
        df = total**2 / sum(se2**2 / df for se2, df in errors)
        half = stats.t.ppf(0.975, df) * math.sqrt(total)
        middle = np.mean(HIGH[key]) - np.mean(LOW[key])
        assert not row["paired"]
        assert (row["low"], row["high"]) == pytest.approx((middle - half, middle + half))
    paired = by_purchase(comparison_frame(*sides))
    wider = [rows[s]["high"] - rows[s]["low"] > paired[s]["high"] - paired[s]["low"] for s in rows]
    assert all(wider)


def components(side: Side, key: tuple[str, str, str]) -> np.ndarray[Any, Any]:
    """Structural components of a cell's seeds, from the readings themselves."""
    trials = side.trials[key]
    kept = {of: taken for of, taken in side.source.readings.items() if of[0] in trials}
    epochs = dict(
        zip(side.source.trials["trial_id"], side.source.trials["kept_epoch"], strict=True)
    )
    ordered = [kept[trial, epochs[trial]]["robust_auroc"].components for trial in sorted(trials)]
    return np.stack(ordered).astype(float)


def test_every_sentence_counts_what_the_table_has(sides: tuple[Side, Side]) -> None:
    """The answer by its verdicts; a limit each for pairing, gaps and what is not ranked."""
    frame, names = comparison_frame(*sides), ("before", "after")
    text = answer(frame, *names)
    robust, overall = (
        frame[frame["metric"] == metric]["verdict"].value_counts()
        for metric in ("robust_auroc", "auroc")
    )
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    order = ["higher", "lower", "not decided"]
    counts = [[int(of.get(verdict, 0)) for verdict in order] for of in (robust, overall)]
    assert numbers == [counts[0][0], 6, *counts[0][1:], 6, *counts[1]]
    assert numbers[:4] == [2, 6, 1, 3]
    assert caveats(frame, *sides, names) == [
        "Differences are paired: seed by seed, on the same test images."
    ]
    moved = Side.of(on_other_images(sides[1].source))
    [said] = caveats(comparison_frame(sides[0], moved), sides[0], moved, names)
    assert said.startswith("Differences are not paired")


def test_the_same_trials_and_lonely_purchases_are_told_apart(sides: tuple[Side, Side]) -> None:
    """Neither counts as compared; a sweep beside itself compares nothing."""
    first = sides[0]
    frame = comparison_frame(first, first)
    assert set(frame["verdict"]) == {SAME}
    assert answer(frame, "a", "b") == (
        "a and b have only purchases of the very same trials in common: nothing is compared."
    )
    source = first.source
    few = [one for one in source.planned if one.key[0] != "mask"]
    rest = source.trials[source.trials["specificity"] != "mask"]
    fewer = Side.of(replace(source, planned=few, trials=rest))
    frame = comparison_frame(fewer, sides[1])
    assert by_purchase(frame)["mask"]["in_sweeps"] == "second"
    assert pd.isna(by_purchase(frame)["mask"]["verdict"])
    told = caveats(frame, fewer, sides[1], ("fewer", "after"))
    assert "1 purchase is in the plan of after alone and not compared." in told
    reverse = comparison_frame(sides[1], fewer)
    assert by_purchase(reverse)["mask"]["in_sweeps"] == "first"
    forth, back = by_purchase(frame)["box"], by_purchase(reverse)["box"]
    assert forth["difference"] == pytest.approx(-back["difference"])
    assert (forth["low"], forth["high"]) == pytest.approx((-back["high"], -back["low"]))


def test_a_purchase_without_results_is_listed_and_not_compared(tmp_path: Path) -> None:
    """In both plans, with two seeds of one sweep's boxes and no trial of masks; never nan."""
    first, second = sweep(LOW, "before"), sweep(HIGH, "after")
    trials, few = second.trials, second.trials["specificity"] == "box"
    gone = (trials["specificity"] == "mask") | (few & (trials["seed"] == 2))
    second = replace(second, trials=trials[~gone])
    files = build_comparison(first, second, tmp_path, "2026-03-01T12:00:00Z")
    counts = "in 1 of 5 purchases that both have a result of, a lower one in 0, and in 4"
    assert counts in files.answer
    assert {
        "1 difference in robust AUROC has no interval and is not decided; the table says why.",
        "The other differences are paired: seed by seed, on the same test images.",
        "1 purchase is without a robust AUROC in one of the two and not compared.",
        "Provisional: 4 of 18 planned trials of after have no result.",
    } == set(files.caveats)
    text = (tmp_path / "comparison.md").read_text()
    assert "- masks on 600 images, trained with erm: no result in the second" in text
    assert "fewer than 3 seeds" in text
    page = re.sub(r'base64,[^"]*', "", files.page.read_text())
    assert "nan" not in (text + page).lower()


def test_what_cannot_be_judged_says_why() -> None:
    """A purchase without predictions, and one with a seed: a difference, no limits, no verdict."""
    first, second = Side.of(sweep(LOW, "before")), Side.of(sweep(HIGH, "after", readings={}))
    rows = by_purchase(comparison_frame(first, second))
    assert {row["verdict"] for row in rows.values()} == {"not decided"}
    assert all("no standard error of the second" in row["reason"] for row in rows.values())
    assert rows["box"]["difference"] == pytest.approx(0.2033, abs=1e-3)
    assert all(math.isnan(row["low"]) for row in rows.values())


def test_what_differs_is_listed() -> None:
    """Entries that only one specification has, and another dataset; never the name."""
    one, other = sweep(LOW, "before"), sweep(HIGH, "after")
    text = one.provenance.spec_text
    changed = replace(
        other.provenance,
        dataset_digest="ab" * 32,
        spec_text=text.replace("seed: [0, 1, 2]", "seed: [0, 1]") + "train: {epochs: 3}\n",
    )
    sides = Side.of(one), Side.of(replace(other, provenance=changed))
    assert find_differences(*sides) == [
        ("dataset", f"siim-acr@{one.provenance.dataset_digest[:12]}", "siim-acr@abababababab"),
        ("axes.seed", "[0, 1, 2]", "[0, 1]"),
        ("train.epochs", "not given", "3"),
    ]


def test_files_say_the_same(tmp_path: Path) -> None:
    """Page, Markdown and table; prices and axes that differ are named; again the same bytes."""
    one = sweep(LOW, "before")
    other = replace(sweep(HIGH, "after"), axis=("training",))
    folders = [tmp_path / "a", tmp_path / "b"]
    both = [build_comparison(one, other, folder, "2026-03-01T12:00:00Z") for folder in folders]
    files = both[0]
    for path, again in zip(files.paths, both[1].paths, strict=True):
        assert path.read_bytes() == again.read_bytes(), path.name
    page, text = files.page.read_text(), (tmp_path / "a" / "comparison.md").read_text()
    assert files.answer in page
    assert files.answer in text
    assert any(caveat.startswith("Dollars do not compare") for caveat in files.caveats)
    table = pd.read_parquet(tmp_path / "a" / "comparison.parquet")
    assert len(table) == 12
    bought = ("| labels", "| boxes", "| coarse", "| masks")
    lines = [line for line in text.splitlines() if line.startswith(bought)]
    assert len(lines) == 12
    for line, row in zip(lines, table.to_dict("records"), strict=True):
        shown = [part.strip() for part in line.strip("|").split("|")]
        assert float(shown[5].split()[0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(
            row["difference"], abs=6e-4
        )
        assert shown[7].startswith(row["verdict"])
    assert "nan" not in text.lower()
    robust = table[table["metric"] == "robust_auroc"]["budget"].tolist()
    assert all(one <= two for one, two in pairwise(robust))


def test_readings_of_the_tests_are_shared() -> None:
    """The images of both sweeps are the same, or nothing above would be paired."""
    made = make(plan(("label",), ("600",), ("erm",)))
    taken = readings(made.epochs)
    assert {one.images for of in taken.values() for one in of.values()} == {"robust_auroc", "auroc"}

"""Published beside measured: the table, its file, the page's section and its sentences."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from report_tables import Made, make, plan, report_input, small, tables, with_scores
from tiny_sweeps import TEXT, run_here

from cluster.folder_store import FolderStore
from spurious.config import GaussianSquares, Specificity
from spurious.square_images import measured
from sweeps.cli import main
from sweeps.published import PublishedTable, find, read_paper
from sweeps.report.build import build_report
from sweeps.report.published import published_frame
from sweeps.report.published_words import orders, published_sections
from sweeps.report.tables import REPORT_PUBLISHED
from sweeps.spec import load_spec

T_2 = 4.302652729749464  # two-sided 95 % Student-t quantile, 2 degrees of freedom


def paper(text: str) -> PublishedTable:
    """A table of siim-acr with values and orders as YAML."""
    start = "paper: A. Nobody, 2020\ntables:\n  table9:\n    where: Table 9\n    shows: Nothing\n"
    [table] = read_paper(start + "    seeds: 3\n" + text, "here.yaml", "nobody2020")
    return table


def value(specificity: str, budget: str, mean: float, sd: float, method: str = "erm") -> str:
    """One published robust AUROC."""
    cell = f'specificity: {specificity}, budget: "{budget}", method: {method}'
    return f"      - {{dataset: siim-acr, {cell}, metric: robust_auroc, mean: {mean}, sd: {sd}}}\n"


def framed(made: Made, *published: PublishedTable) -> pd.DataFrame:
    """The table of a report on some result tables."""
    priced, cells = tables(made)
    return published_frame(published, cells, priced, made.epochs)


def rows(frame: pd.DataFrame, **wanted: Any) -> list[dict[str, Any]]:
    """The rows with some values in some columns."""
    for name, of in wanted.items():
        frame = frame[frame[name] == of]
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


@pytest.fixture(scope="module")
def table1() -> PublishedTable:
    """Table 1 of Saab et al. 2022 on SIIM-ACR."""
    found = find("saab2022/table1", "siim-acr")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def made() -> Made:
    """Labels (erm, jtt), boxes and masks (erm) on 600 and on all images, three seeds each."""
    return small()


def test_cells_are_matched_and_subtracted(made: Made, table1: PublishedTable) -> None:
    """Mean, SD, interval and n over seeds as numpy has them, beside the number as printed."""
    scores = [0.79, 0.83, 0.84]
    frame = framed(with_scores(made, {("mask", "all", "erm"): scores}), table1)
    [row] = rows(frame, specificity="mask", budget="all", metric="robust_auroc")
    half = T_2 * np.std(scores, ddof=1) / np.sqrt(3)
    assert row["counterpart"] == "both"
    assert (row["published_mean"], row["published_sd"], row["published_seeds"]) == (0.82, 0.039, 3)
    assert row["measured_n"] == 3
    for name, expected in (
        ("measured_mean", 0.82),
        ("measured_sd", np.std(scores, ddof=1)),
        ("measured_low", 0.82 - half),
        ("measured_high", 0.82 + half),
        ("difference", 0.0),
    ):
        assert row[name] == pytest.approx(expected), name
    [overall] = rows(frame, specificity="mask", budget="all", metric="auroc")
    _, cells = tables(made)
    measured = cells.set_index(["specificity", "budget", "method"])["auroc_mean"]
    assert overall["measured_mean"] == pytest.approx(measured["mask", "all", "erm"])
    assert overall["difference"] == pytest.approx(measured["mask", "all", "erm"] - 0.933)


def test_cells_without_a_counterpart_stay(made: Made, table1: PublishedTable) -> None:
    """The sweep's 600 images are not in Table 1, and GEORGE is not in this sweep."""
    frame = framed(made, table1)
    robust = frame[frame["metric"] == "robust_auroc"]
    found = {
        kind: {
            (row["specificity"], row["budget"], row["method"])
            for row in rows(robust, counterpart=kind)
        }
        for kind in ("both", "sweep", "paper")
    }
    assert found == {
        "both": {
            *(("label", "all", "erm"), ("label", "all", "jtt")),
            *(("box", "all", "erm"), ("mask", "all", "erm")),
        },
        "sweep": {
            *(("label", "600", "erm"), ("label", "600", "jtt")),
            *(("box", "600", "erm"), ("mask", "600", "erm")),
        },
        "paper": {("label", "all", "george")},
    }
    [george] = rows(robust, counterpart="paper")
    assert (george["published_mean"], george["measured_n"]) == (0.634, 0)
    assert np.isnan(george["measured_mean"])
    assert np.isnan(george["difference"])


def test_options_and_one_box_an_image_match_too(table1: PublishedTable) -> None:
    """A paper's JTT is JTT with any options, and its boxes are boxes drawn either way."""
    planned = plan(specificities=("label", "box", "box=image"), budgets=("all",))
    plain = make(planned)
    named = {"jtt": "jtt(factor=20, upsample=append)"}
    made = replace(
        plain,
        trials=plain.trials.replace({"method": named}),
        planned=tuple(replace(one, method=named.get(one.method, one.method)) for one in planned),
    )
    both = rows(framed(made, table1), counterpart="both", metric="robust_auroc")
    assert {(row["specificity"], row["method"]): row["published_mean"] for row in both} == {
        ("label", "erm"): 0.455,
        ("label", named["jtt"]): 0.559,
        ("box", "erm"): 0.720,
        ("box=image", "erm"): 0.720,
    }


def test_a_cell_without_a_result_is_still_to_be_measured(
    made: Made, table1: PublishedTable
) -> None:
    """It is in both, with no seed measured, and says so on the page."""
    gone = made.trials[(made.trials["specificity"] == "mask") & (made.trials["budget"] == "all")]
    partial = replace(made, trials=made.trials.drop(gone.index))
    frame = framed(partial, table1)
    [row] = rows(frame, specificity="mask", budget="all", metric="robust_auroc")
    assert (row["counterpart"], row["measured_n"]) == ("both", 0)
    [section] = published_sections([table1], frame)
    [shown] = [row for row in section["metrics"][1]["rows"] if row["annotation"] == "masks"]
    assert (shown["measured"], shown["published"]) == ("not measured", "0.820 ± 0.039")


def test_what_is_measured_once_is_read_where_it_stands() -> None:
    """Alignment on test, the variance measure on train, at the one epoch that has them."""
    made = make(plan(specificities=("r=1", "r=40"), budgets=("all",), methods=("erm",)))
    trials = made.trials[["trial_id", "attempt", "specificity", "seed"]].to_dict("records")
    more = [
        {**{name: trial[name] for name in ("trial_id", "attempt")}, "epoch": 6, **measured}
        for trial in trials
        for fine in [trial["specificity"] == "r=40"]
        for measured in (
            {
                **{"split": "test", "metric": "alignment_y0", "attribute": "block"},
                "value": 0.2 + 0.7 * fine + 0.01 * trial["seed"],
            },
            {
                **{"split": "train", "metric": "variance_measure", "attribute": None},
                "value": 9.5 - 8.5 * fine,
            },
        )
    ]
    made = replace(made, epochs=pd.concat([made.epochs, pd.DataFrame(more)]))
    table2, figure3 = (
        find(f"saab2022/{name}", "gaussian-squares") for name in ("table2", "figure3")
    )
    assert table2 is not None
    assert figure3 is not None
    frame = framed(made, table2, figure3)
    [coarse] = rows(frame, specificity="r=1", metric="alignment_y0")
    assert coarse["measured_mean"] == pytest.approx(0.21)
    assert coarse["difference"] == pytest.approx(0.21 - 0.13)
    [fine] = rows(frame, specificity="r=40", metric="variance_measure")
    assert (fine["measured_mean"], fine["published_rank"]) == (1.0, 1)
    assert np.isnan(fine["published_mean"])
    assert {row["measured_n"] for row in rows(frame, metric="alignment_y1")} == {0}
    assert {row["measured_n"] for row in rows(frame, metric="mutual_information")} == {0}
    several = replace(
        made, epochs=pd.concat([made.epochs, pd.DataFrame(more).assign(attribute="ink")])
    )
    assert {row["measured_n"] for row in rows(framed(several, table2))} == {0}


def sentences(made: Made, table: PublishedTable) -> list[str]:
    """What the page says of the order of robust AUROC."""
    [section] = published_sections([table], framed(made, table))
    [metric] = [metric for metric in section["metrics"] if metric["name"] == "Robust AUROC"]
    found: list[str] = metric["orders"]
    return found


PAIR = "    values:\n" + value("label", "600", 0.46, 0.01) + value("mask", "600", 0.82, 0.02)


def test_a_reversed_pair_is_told_in_a_sentence(made: Made) -> None:
    """Disjoint measured intervals in the other order: both cells, all four numbers."""
    scores = {
        ("label", "600", "erm"): [0.79, 0.80, 0.81],
        ("mask", "600", "erm"): [0.59, 0.6, 0.61],
    }
    counted, told = sentences(with_scores(made, scores), paper(PAIR))
    assert counted == (
        "1 pair of cells have an order by robust AUROC in Table 9: the measured 95 % intervals "
        "confirm 0, contradict 1, and overlap, or are missing, in 0."
    )
    half = T_2 * 0.01 / np.sqrt(3)
    assert told == (
        f"Labels on 600 images, trained with erm: measured robust AUROC 0.800 "
        f"({0.8 - half:.3f} to {0.8 + half:.3f}), above 0.600 ({0.6 - half:.3f} to "
        f"{0.6 + half:.3f}) of masks on 600 images, trained with erm, and the intervals do not "
        f"overlap. Table 9 has it the other way round: 0.460 ± 0.010 below 0.820 ± 0.020."
    )


@pytest.mark.parametrize(
    ("label", "mask", "counts"),
    [
        ([0.59, 0.60, 0.61], [0.79, 0.80, 0.81], "confirm 1, contradict 0"),
        ([0.50, 0.80, 0.99], [0.59, 0.60, 0.61], "confirm 0, contradict 0"),
        ([np.nan, np.nan, 0.99], [0.1, 0.1, 0.1], "confirm 0, contradict 0"),
    ],
)
def test_other_pairs_are_counted_alone(
    made: Made, label: list[float], mask: list[float], counts: str
) -> None:
    """Same order, overlapping intervals, or a single seed without an interval: no accusation."""
    scores = {("label", "600", "erm"): label, ("mask", "600", "erm"): mask}
    [counted] = sentences(with_scores(made, scores), paper(PAIR))
    assert counts in counted


def test_a_weak_order_of_the_paper_is_called_so(made: Made) -> None:
    """Where the paper's own t-intervals overlap, the sentence says it."""
    scores = {
        ("label", "600", "erm"): [0.79, 0.80, 0.81],
        ("mask", "600", "erm"): [0.59, 0.6, 0.61],
    }
    near = (
        "    values:\n" + value("label", "600", 0.654, 0.035) + value("mask", "600", 0.656, 0.038)
    )
    _, told = sentences(with_scores(made, scores), paper(near))
    assert told.endswith(
        "0.654 ± 0.035 below 0.656 ± 0.038, where the paper's own 95 % intervals overlap."
    )
    equal = "    values:\n" + value("label", "600", 0.65, 0.01) + value("mask", "600", 0.65, 0.01)
    assert sentences(with_scores(made, scores), paper(equal)) == []


def test_an_order_without_numbers_can_be_contradicted(made: Made) -> None:
    """Three ranked cells are three pairs; the page shows places instead of numbers."""
    text = (
        "    orders:\n      - {dataset: siim-acr, budget: all, method: erm, metric: robust_auroc, "
        "rising: [label, box, mask]}\n"
    )
    scores = {
        ("label", "all", "erm"): [0.44, 0.45, 0.46],
        ("box", "all", "erm"): [0.89, 0.90, 0.91],
        ("mask", "all", "erm"): [0.69, 0.70, 0.71],
    }
    counted, told = sentences(with_scores(made, scores), paper(text))
    assert counted.startswith("3 pairs of cells")
    assert "confirm 2, contradict 1" in counted
    assert told.startswith("Boxes on all images, trained with erm: measured robust AUROC 0.900")
    assert told.endswith("Table 9 has it the other way round, without numbers.")
    [section] = published_sections([paper(text)], framed(made, paper(text)))
    assert [row["published"] for row in section["metrics"][0]["rows"]] == [
        f"place {rank} of 3, 1 the lowest" for rank in (1, 2, 3)
    ]


def test_cells_of_one_published_number_have_no_order() -> None:
    """Two option sets of one method are not a pair that the paper orders."""
    common = {"published_rank": None, "published_mean": 0.5, "counterpart": "both", "measured_n": 3}
    one = {**common, "measured_low": 0.1, "measured_high": 0.2}
    other = {**common, "measured_low": 0.8, "measured_high": 0.9}
    assert orders("Table 9", "robust_auroc", [one, other]) == []


def image_row(specificity: str, mean: float, **changes: Any) -> dict[str, Any]:
    """A row of the variance measure of all images, the same in three seeds."""
    row = {
        **{"specificity": specificity, "budget": "all", "method": "erm", "counterpart": "both"},
        **{"published_rank": None, "published_mean": {"label": 0.99, "box": 0.47}[specificity]},
        **{"published_sd": np.nan, "published_seeds": None, "measured_n": 3},
        **{"measured_mean": mean, "measured_low": np.nan, "measured_high": np.nan},
    }
    return row | changes


def test_one_set_of_images_decides_no_order() -> None:
    """Equal values in every seed are one draw: left open, with what the draw says."""
    one, other = image_row("label", 0.4), image_row("box", 0.5)
    assert orders("Table 3", "variance_measure", [one, other]) == [
        "1 pair of annotations have an order by variance of abnormal pixels in Table 3. Every seed "
        "has the same images, so the measured values are one draw without an interval: 1 left "
        "open; the values are in the paper's order in 0."
    ]
    [told] = orders("Table 3", "variance_measure", [one, image_row("box", 0.3)])
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
    [counted] = orders("Table 3", "variance_measure", rows)
    assert counted.startswith("2 pairs of cells have an order")
    assert "overlap, or are missing, in 2." in counted


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
    priced, cells = tables(made)
    frame = published_frame([figure3], cells, priced, made.epochs, GaussianSquares())
    expected = measured(GaussianSquares(), (Specificity("r", r=1),)).by_specificity
    [coarse] = rows(frame, metric="mutual_information", specificity="r=1")
    assert coarse["measured_mean"] == next(iter(expected.values())).mi > 0.003
    assert (coarse["measured_n"], coarse["counterpart"]) == (1, "both")
    assert np.isnan(coarse["measured_low"])
    [fine] = rows(frame, metric="mutual_information", specificity="r=40")
    assert fine["measured_mean"] == 0.0
    [section] = published_sections([figure3], frame)
    [metric] = [m for m in section["metrics"] if m["name"].startswith("Mutual information")]
    assert metric["orders"][0].endswith("1 left open; the values are in the paper's order in 1.")


def plain(page: str) -> str:
    """The text of a page, without markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def test_the_page_has_a_section_for_each_table(
    made: Made, table1: PublishedTable, tmp_path: Path
) -> None:
    """Numbers as printed with notes, cells on one side alone, and the file's name."""
    table4 = find("saab2022/table4", "siim-acr")
    assert table4 is not None
    files = build_report(report_input(made, published=[table1, table4]), tmp_path)
    page = files.page.read_text()
    text = plain(page)
    for expected in (
        "Published beside measured: Table 1",
        "Published beside measured: Table 4",
        "Saab et al., Reducing Reliance on Spurious Features",
        "0.455 ± 0.000",
        "The text says 0.46 (abstract and section 5.1)",
        "not in this sweep",
        "In this sweep and not in Table 1: labels on 600 images, trained with erm;",
        "published.parquet",
    ):
        assert expected in text, expected
    assert "nan" not in text[text.index("Published beside") : text.index("Missing and failed")]
    assert "The published numbers are of" not in text
    assert "://" not in page


def test_numbers_of_another_dataset_are_marked(made: Made, tmp_path: Path) -> None:
    """Whoever compares with another dataset's numbers is told on the page."""
    isic = find("saab2022/table1/isic", "siim-acr")
    assert isic is not None
    files = build_report(report_input(made, published=[isic]), tmp_path)
    told = "The published numbers are of isic, this sweep is on siim-acr."
    assert told in plain(files.page.read_text())


GOLDEN = """schema_version int64|table string|published_dataset string|metric string|
specificity string|budget string|method string|counterpart string|published_mean double|
published_sd double|published_seeds int64|published_rank int64|note string|measured_n int64|
measured_mean double|measured_sd double|measured_low double|measured_high double|
difference double"""


def test_the_file_holds_the_table(made: Made, table1: PublishedTable, tmp_path: Path) -> None:
    """Golden columns; nulls where the paper says nothing; no file without a paper."""
    files = build_report(report_input(made, published=[table1]), tmp_path / "with")
    assert files.published is not None
    table = pq.read_table(files.published)
    found = [f"{field.name} {field.type}" for field in table.schema]
    assert found == GOLDEN.replace("\n", "").split("|")
    assert all(column.meaning for column in REPORT_PUBLISHED)
    assert table.num_rows == 18  # eight cells of the sweep and GEORGE, by two metrics
    by_side = table.to_pandas().groupby("counterpart")["published_seeds"]
    assert {side: n.tolist() for side, n in by_side} == {
        "both": [3] * 8,
        "paper": [3] * 2,
        "sweep": pytest.approx([np.nan] * 8, nan_ok=True),
    }
    assert build_report(report_input(made), tmp_path / "without").published is None
    assert not (tmp_path / "without" / "published.parquet").exists()


def test_the_order_of_rows_changes_no_byte(
    made: Made, table1: PublishedTable, tmp_path: Path
) -> None:
    """As for the other files of a report."""
    shuffled = replace(
        made,
        trials=made.trials.sample(frac=1, random_state=1),
        epochs=made.epochs.sample(frac=1, random_state=2),
        planned=tuple(reversed(made.planned)),
    )
    one, other = (
        build_report(report_input(of, published=[table1]), tmp_path / name)
        for of, name in ((made, "one"), (shuffled, "other"))
    )
    assert one.published is not None
    assert other.published is not None
    assert one.published.read_bytes() == other.published.read_bytes()
    assert one.page.read_bytes() == other.page.read_bytes()


def test_a_sweep_that_names_a_paper_reports_beside_it(
    folder_store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the YAML to the file here and in the store, for trials that really ran."""
    path = tmp_path / "tiny.yaml"
    axes = "axes: {specificity: [{r: 1}, {r: 2}], budget: [all], method: [erm], seed: [0]}"
    path.write_text(
        re.sub(r"axes: \{.*\}", axes, TEXT)
        + "published: [saab2022/figure3, saab2022/figure3/gaussian-squares]\n"
    )
    run_here(folder_store, load_spec(path), tmp_path / "cache")
    store = ("--store", folder_store.url, "--out", str(tmp_path / "out"))
    assert main(["report", str(path), *store]) == 0
    written = tmp_path / "out" / "published.parquet"
    assert str(written) in capsys.readouterr().out
    table = pd.read_parquet(written)
    assert set(table["table"]) == {"saab2022/figure3"}
    robust = table[(table["metric"] == "robust_auroc") & (table["counterpart"] == "both")]
    assert robust["specificity"].tolist() == ["r=1", "r=2"]
    assert robust["measured_n"].tolist() == [1, 1]
    kept = folder_store.get("sweeps/tiny/report/published.parquet")
    assert kept == written.read_bytes()

"""Published beside measured: the table, its file, the page's section and its sentences."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from published_tables import framed, paper, rows, sections
from report_tables import Made, evidence, make, plan, report_input, small, tables, with_scores
from tiny_sweeps import TEXT, run_here

from cluster.stores.folder import FolderStore
from spurious.config.methods import Jtt
from spurious.scoring.selection import parse_rule
from sweeps.cli import main
from sweeps.report.build import build_report
from sweeps.report.tables import REPORT_PUBLISHED
from sweeps.spec.model import MethodChoice, load_spec
from sweeps.spec.papers import PublishedTable, find


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
    expected = evidence(with_scores(made, {("mask", "all", "erm"): scores}))[2].interval(
        ("mask", "all", "erm"), "robust_auroc"
    )
    assert row["counterpart"] == "both"
    assert (row["published_mean"], row["published_sd"], row["published_seeds"]) == (0.82, 0.039, 3)
    assert row["measured_n"] == 3
    for name, number in (
        ("measured_mean", 0.82),
        ("measured_sd", np.std(scores, ddof=1)),
        ("measured_low", expected.low),
        ("measured_high", expected.high),
        ("difference", 0.0),
    ):
        assert row[name] == pytest.approx(number), name
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
    jtt = MethodChoice("jtt", Jtt(factor=20, upsample="append"))
    planned = [
        replace(one, cell=replace(one.cell, method=jtt)) if one.cell.method.name == "jtt" else one
        for one in plan(specificities=("label", "box", "box=image"), budgets=("all",))
    ]
    both = rows(framed(make(planned), table1), counterpart="both", metric="robust_auroc")
    assert {(row["specificity"], row["method"]): row["published_mean"] for row in both} == {
        ("label", "erm"): 0.455,
        ("label", str(jtt)): 0.559,
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
    [section] = sections(partial, table1)
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


RULED = """\
    epoch: {rule}
    decimals: 2
    values:
      - {{dataset: siim-acr, specificity: mask, budget: "600", metric: auroc, mean: 0.9}}
      - {{dataset: siim-acr, specificity: mask, budget: "600", metric: loss, mean: 0.1, sd: 0.05}}
"""


@pytest.mark.parametrize("rule", ["last", "best val.robust_auroc", "best test.loss"])
def test_a_papers_own_rule_chooses_the_epochs(made: Made, rule: str, tmp_path: Path) -> None:
    """Of every metric, whatever the report's rule is; the page and the file say which."""
    table = paper(RULED.format(rule=rule))
    mine = made.trials[(made.trials["specificity"] == "mask") & (made.trials["budget"] == "600")]
    epochs = made.epochs[made.epochs["trial_id"].isin(mine["trial_id"])]
    curves = {
        (split, metric): of.pivot(index="epoch", columns="trial_id", values="value")
        for (split, metric), of in epochs[epochs["attribute"].isna()].groupby(["split", "metric"])
    }
    chosen = {
        "last": curves["test", "auroc"].apply(lambda _: 8),
        "best val.robust_auroc": curves["val", "robust_auroc"].idxmax(),
        "best test.loss": curves["test", "loss"].idxmin(),
    }[rule]
    for own in (None, parse_rule("last"), parse_rule("best val.loss")):
        out = tmp_path / str(own)
        files = build_report(report_input(made, published=[table], rule=own), out)
        assert files.published is not None
        both = pd.read_parquet(files.published).query("counterpart == 'both'")
        assert set(both["rule"]) == {rule}
        for row in both.to_dict("records"):
            curve = curves["test", row["metric"]]
            expected = np.mean([curve.at[epoch, trial] for trial, epoch in chosen.items()])
            assert row["measured_mean"] == pytest.approx(expected, abs=1e-12), row["metric"]
        for path in (files.page, files.text):
            text = plain(path.read_text())
            assert f"('{rule}'), as the paper does" in text
            assert "0.10 ± 0.05" in text
    own_rule = framed(made, replace(table, epoch=None))
    assert set(own_rule["rule"]) == {None}


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
        "SIIM-ACR's robust AUROC rests on 85 negatives and 66 positives",
        "In this sweep and not in Table 1: labels on 600 images, trained with erm;",
        "published.parquet",
    ):
        assert expected in text, expected
    assert (
        "nan" not in text[text.index("Published beside") : text.index("What failed, was skipped")]
    )
    assert "The published numbers are of" not in text
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_what_siims_robust_auroc_rests_on_stands_beside_each_row(
    made: Made, table1: PublishedTable, tmp_path: Path
) -> None:
    """In HTML and Markdown; not beside other datasets' numbers."""
    isic = find("saab2022/table1/isic", "siim-acr")
    assert isic is not None
    files = build_report(report_input(made, published=[table1, isic]), tmp_path)
    beside = "rests on 85 negatives and 66 positives"
    for path in (files.page, files.text):
        assert path.read_text().count(beside) == len(table1.values) == 10


def test_numbers_of_another_dataset_are_marked(made: Made, tmp_path: Path) -> None:
    """Whoever compares with another dataset's numbers is told on the page."""
    isic = find("saab2022/table1/isic", "siim-acr")
    assert isic is not None
    files = build_report(report_input(made, published=[isic]), tmp_path)
    told = "The published numbers are of isic, this sweep is on siim-acr."
    assert told in plain(files.page.read_text())


GOLDEN = """schema_version int64|table string|published_dataset string|rule string|metric string|
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

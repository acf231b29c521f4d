"""Subgroups of test images: values, bands, refusals, and what is read for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.stats import mannwhitneyu
from wards import Wards, records, run_wards, stage_wards

from cluster.datasets.keys import image_table_key
from cluster.datasets.manifest import find_manifest
from cluster.stores.folder import FolderStore
from sweeps.commands.report import read_report_input
from sweeps.plan.plan import Plan
from sweeps.report.bands import group_images, group_values
from sweeps.report.build import build_report
from sweeps.report.epochs import Epochs
from sweeps.report.inference.components import Reading
from sweeps.report.inference.intervals import cell_interval
from sweeps.report.readings import ReadingTaker
from sweeps.report.subgroups import judge
from sweeps.report.trials import select_and_price
from sweeps.results import tables as results
from sweeps.spec.model import Spec

KEY = ["specificity", "budget", "method"]


def table_of(wards: Wards) -> pd.DataFrame:
    """The report's subgroups."""
    assert wards.files.subgroups is not None
    return pq.read_table(wards.files.subgroups).to_pandas()


def predictions_of(wards: Wards, specificity: str) -> Iterator[pa.Table]:
    """The stored test predictions of each seed at the kept epoch."""
    trials = results.read_trials(wards.store, wards.plan.done)
    mine = trials.filter(pc.equal(trials.column("specificity"), specificity)).sort_by("seed")
    for table in results.each_table(wards.store, "predictions", mine):
        yield table.filter(pc.and_(table.column("kept"), pc.equal(table.column("split"), "test")))


def inside(covariate: str, row: dict[str, object]) -> list[str]:
    """Test images of a subgroup, from the records themselves."""
    found = []
    for record in records():
        value = record.covariates[covariate]
        if record.split != "test":
            continue
        if row["subgroup"] == "not known":
            found += [record.sample_id] if value is None else []
        elif isinstance(value, float):
            is_in = float(str(row["lowest"])) <= value <= float(str(row["highest"]))
            found += [record.sample_id] if is_in else []
        elif value == row["subgroup"]:
            found.append(record.sample_id)
    return found


def test_every_number_against_the_predictions(wards: Wards) -> None:
    """Images of each class and mean AUROCs, counted and ranked anew for every subgroup."""
    frame = table_of(wards)
    assert set(frame["covariate"]) == {"sex", "age", "site"}
    assert set(frame["specificity"]) == {"label", "mask"}
    for row in frame.to_dict("records"):
        chosen = inside(row["covariate"], row)
        of_seeds: dict[str, list[float]] = {"auroc": [], "robust_auroc": []}
        for table in predictions_of(wards, row["specificity"]):
            images = table.to_pandas().set_index("sample_id").loc[chosen]
            against = images[images["spurious_clip"] != (images["label"] == 1)]
            for metric, of, before in (("auroc", images, ""), ("robust_auroc", against, "robust_")):
                high, low = (of.loc[of["label"] == y, "score"] for y in (1, 0))
                assert (row[f"{before}positives"], row[f"{before}negatives"]) == (
                    len(high),
                    len(low),
                )
                if min(len(high), len(low)):
                    pairs = len(high) * len(low)
                    of_seeds[metric].append(float(mannwhitneyu(high, low).statistic) / pairs)
        for metric, values in of_seeds.items():
            if row[f"{metric}_reason"] is None:
                assert row[f"{metric}_mean"] == pytest.approx(np.mean(values)), row


def test_intervals_are_those_of_a_report_on_these_images_alone(wards: Wards) -> None:
    """As the rest of the report computes them, from predictions of women and nobody else."""
    frame = table_of(wards)
    row = frame[(frame["specificity"] == "label") & (frame["subgroup"] == "F")].iloc[0]
    women = pa.array(inside("sex", row.to_dict()))
    for metric in ("auroc", "robust_auroc"):
        readings: list[Reading] = []
        for table in predictions_of(wards, "label"):
            mine = table.filter(pc.is_in(table.column("sample_id"), value_set=women))
            readings += [of[metric] for of in ReadingTaker({"clip": 1}).read(mine).values()]
        parts = np.stack([reading.components for reading in readings])
        found = cell_interval([of.value for of in readings], parts, readings[0].cases)
        for name, value in (("low", found.low), ("high", found.high)):
            assert row[f"{metric}_{name}"] == pytest.approx(value)
        assert row[f"{metric}_interval"] == found.kind


def test_few_images_are_refused_with_their_number(wards: Wards) -> None:
    """Site C has six test images: no mean, no interval, on the page and in the table."""
    frame = table_of(wards)
    for row in frame[frame["subgroup"] == "C"].to_dict("records"):
        assert (row["positives"], row["negatives"]) == (3, 3)
        assert np.isnan(row["auroc_mean"])
        assert row["auroc_n"] == 0
        assert row["auroc_interval"] == "none"
        assert row["auroc_reason"] == "fewer than 10 images of a class"
    text = wards.files.text.read_text()
    section = text.partition("## Subgroups of patients")[2].partition("\n## ")[0]
    said = "C, fewer than 10 images of a class (3 abnormal, 3 normal)."
    assert f"By site: refused: {said}" in section
    assert f"Refused: {said}" in wards.files.page.read_text()
    assert "| C |" not in section
    assert "| not known |" not in section  # no abnormal image is of an unknown age
    assert "| A |" in section
    few = [Reading(0.9, np.full(12, 0.1, np.float32), 6, 24, "x")] * 3
    assert judge(few, 12, 12).reason == "fewer than 10 patients with an image of a class"
    assert judge([], 12, 12).reason == "no defined score"


def test_the_page_says_what_the_intervals_are_not(wards: Wards) -> None:
    """Not adjusted, with the number of intervals; what cannot be divided is said."""
    page = " ".join(wards.files.page.read_text().split())
    frame = table_of(wards)
    shown = sum(int((frame[f"{m}_interval"] != "none").sum()) for m in ("auroc", "robust_auroc"))
    assert f"not adjusted for how many are looked at, {shown} intervals on 3 covariates" in page
    assert "No subgroups by scanner: it is one on every test image." in page
    assert "No subgroups by accession: none of its 240 values is on 10 test images." in page
    assert "above 42 to 53" in page
    assert "<code>subgroups.parquet</code>" in page


def test_numbers_are_divided_into_quarters_and_text_by_value() -> None:
    """Ends are values that occur; few numbers stand for themselves; rare texts are one group."""
    ages = [float(18 + i * i % 71) for i in range(200)]
    found = group_values("age", [*ages, None])
    assert found.names[-1] == "not known"
    assert len(found.names) == 5
    quarter = np.quantile(ages, 0.25, method="inverted_cdf")
    assert found.names[0] == f"18 to {quarter:g}"
    for place, (low, high) in enumerate(found.ends[:4]):
        mine = [age for age, code in zip(ages, found.codes, strict=False) if code == place]
        assert (min(mine), max(mine)) == (low, high)
    assert group_values("year", [2019.0, 2020.0, 2019.0]).names == ("2019", "2020")
    six = [float(year) for year in range(2015, 2021)] * 2
    assert group_values("year", six).names == ("2015", "2016", "2017", "2018", "2019", "2020")
    assert len(group_values("year", [*six, 2021.0]).names) == 4
    skewed = group_values("dose", [0.0] * 60 + [float(i) for i in range(1, 41)])
    assert skewed.names == ("0", "above 0 to 15", "above 15 to 40")
    sites = [f"s{i:02d}" for i in range(12) for _ in range(30 - i)]
    pooled = group_values("site", sites)
    assert pooled.names == (*(f"s{i:02d}" for i in range(8)), "others (4)")
    assert (pooled.codes == 8).sum() == 22 + 21 + 20 + 19
    assert group_values("sex", [None, None]).note == "it is not known of any test image"
    groupings = group_images({"sex": {"a": "F", "b": ""}}, ["a", "b", "c"])
    assert (groupings[0].names, groupings[0].codes.tolist()) == (("F", "not known"), [0, 1, 1])


def test_only_trials_of_shown_purchases_are_read(wards: Wards, tmp_path: Path) -> None:
    """One table at a time, of the frontier and the labels beside it."""
    read: list[set[str]] = []

    def count(ids: Sequence[str]) -> Iterator[pa.Table]:
        assert wards.source.read_predictions is not None
        read.append(set(ids))
        yield from wards.source.read_predictions(ids)

    source = replace(wards.source, read_predictions=count)
    priced = select_and_price(source, None)
    beaten = priced["specificity"] == "mask"
    # masks are beaten by labels in every seed: the frontier is of labels alone
    rows = source.epochs.rows.copy()
    ids = set(priced.loc[beaten, "trial_id"])
    rows.loc[rows["trial_id"].isin(ids) & (rows["metric"] == "robust_auroc"), "value"] = 0.1
    build_report(replace(source, epochs=Epochs.of(source.trials, rows)), tmp_path)
    labels = set(priced.loc[~beaten, "trial_id"])
    assert read
    assert all(of <= labels for of in read)
    assert read[0] == labels


def test_datasets_without_covariates_say_so_and_staging_adds_them(tmp_path: Path) -> None:
    """One sentence each: nothing was recorded, or the table is gone; staged again it is back."""
    one = {"train.epochs": 1, "axes.specificity": ["label"], "axes.seed": [0]}
    bare = FolderStore(tmp_path / "bare")
    spec, plan = run_wards(bare, tmp_path / "cache", known=False, overrides=one)
    text = page_of(bare, spec, plan, tmp_path / "none")
    assert "wards are known: its images were staged without any." in text
    assert "By sex" not in text
    store = FolderStore(tmp_path / "store")
    spec, plan = run_wards(store, tmp_path / "cache", overrides=one)
    assert "By sex" in page_of(store, spec, plan, tmp_path / "with")
    digest = find_manifest(store, "wards").digest
    store.delete(image_table_key("wards", digest))
    gone = page_of(store, spec, plan, tmp_path / "gone")
    assert "No covariates (sex, age, site, scanner) of wards are known: it has no readable" in gone
    assert "By sex" not in gone
    stage_wards(store)
    assert "By sex" in page_of(store, spec, plan, tmp_path / "again")


def page_of(store: FolderStore, spec: Spec, plan: Plan, out: Path) -> str:
    """The page's text on one line; a table of subgroups is written where it shows any."""
    files = build_report(read_report_input(spec, plan, store), out)
    text = " ".join(files.page.read_text().split())
    assert (files.subgroups is not None) == ("By sex" in text)
    return text

"""Numbers of papers: that they are the printed ones, and that a file of them is read strictly."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from spurious.scoring.selection import SelectionRule
from sweeps.errors import SpecError
from sweeps.spec import papers as published
from sweeps.spec.model import parse_spec
from sweeps.spec.papers import PublishedTable, PublishedValue, find, names, read_paper, tables

ROOT = Path(__file__).resolve().parents[3]

# as printed in the paper
TABLE_1 = """\
Binary-ERM 0.909± 0.017 0.455± 0.000 0.359± 0.016
Binary-JTT 0.926± 0.003 0.559± 0.024 0.444± 0.027
Binary-GEORGE 0.920± 0.009 0.634± 0.009 0.514± 0.012
BBox-ERM 0.924± 0.011 0.720± 0.000 0.305± 0.084
Segmentation-ERM 0.933± 0.004 0.820± 0.039 0.727± 0.016"""
TABLE_2 = """\
(Y=0, S = 0) ⇔ (Y=0, S = 1) 0.13 0.39 0.66 0.80 0.89
(Y=1, S = 0) ⇔ (Y=1, S = 1) 0.62 0.57 0.60 0.93 0.92"""
TABLE_3 = """\
CXR 0.99 0.47 0.42
ISIC 1.28 1.14 0.88"""
TABLE_4 = """\
Seg-ERM 0.656± 0.038 0.701± 0.007 0.749± 0.018
BBox-ERM 0.654± 0.035 0.685± 0.022 0.715± 0.043
Seg-SSL 0.679± 0.016 0.723± 0.003 0.741± 0.009
Seg-SPL 0.697± 0.008 0.704± 0.004 0.738± 0.008"""

NUMBER = re.compile(r"\d\.\d+")
SPECIFICITIES = {"Binary": "label", "BBox": "box", "Segmentation": "mask", "Seg": "mask"}
RESOLUTIONS = ("r=1", "r=2", "r=4", "r=20", "r=40")

GOOD = """\
paper: A. Nobody, 2020
tables:
  table9:
    where: Table 9
    shows: Nothing
    seeds: 3
    epoch: best val.loss
    decimals: 2
    notes: [Look twice.]
    values:
      - {dataset: films, specificity: mask, budget: "20", method: erm, metric: auroc, mean: 0.5}
    orders:
      - {dataset: films, metric: robust_auroc, rising: [label, r=2, mask]}
"""

Cell = tuple[str, str, str | None, str | None, str]


def cells(name: str) -> dict[Cell, tuple[float | None, float | None]]:
    """Dataset, specificity, budget, method and metric to mean and standard deviation."""
    values = tables()[f"saab2022/{name}"].values
    found = {
        (v.dataset, v.specificity, v.budget, v.method, v.metric): (v.mean, v.sd) for v in values
    }
    assert len(found) == len(values)
    return found


def numbers(line: str) -> list[float]:
    """The decimal numbers of a printed line."""
    return [float(text) for text in NUMBER.findall(line)]


def test_table_1_is_as_printed() -> None:
    """Fifteen numbers, each with its standard deviation; of ISIC's both metrics are the same."""
    expected = {}
    for line in TABLE_1.splitlines():
        specificity, method = line.split()[0].split("-")
        row = ("all", method.lower())
        printed = numbers(line)
        columns = ("siim-acr", "auroc"), ("siim-acr", "robust_auroc"), ("isic", "robust_auroc")
        for i, (dataset, metric) in enumerate(columns):
            key = (dataset, SPECIFICITIES[specificity], *row, metric)
            expected[key] = (printed[2 * i], printed[2 * i + 1])
            if dataset == "isic":
                expected[*key[:-1], "auroc"] = expected[key]
    assert len(expected) == 15 + 5
    assert cells("table1") == expected
    assert tables()["saab2022/table1"].seeds == 3


def test_table_2_is_as_printed() -> None:
    """Two rows over five resolutions, without standard deviations or seeds."""
    expected = {
        ("gaussian-squares", r, "all", "erm", f"alignment_y{label}"): (mean, None)
        for label, line in enumerate(TABLE_2.splitlines())
        for r, mean in zip(RESOLUTIONS, numbers(line), strict=True)
    }
    assert cells("table2") == expected
    assert tables()["saab2022/table2"].seeds is None


def test_table_3_is_as_printed() -> None:
    """Two datasets over three specificities, of any budget and method."""
    expected = {
        (dataset, specificity, None, None, "variance_measure"): (mean, None)
        for dataset, line in zip(("siim-acr", "isic"), TABLE_3.splitlines(), strict=True)
        for specificity, mean in zip(("label", "box", "mask"), numbers(line), strict=True)
    }
    assert cells("table3") == expected


def test_table_4_is_as_printed() -> None:
    """Four rows over three numbers of training samples."""
    expected = {}
    for line in TABLE_4.splitlines():
        specificity, method = line.split()[0].split("-")
        printed = numbers(line)
        for i, budget in enumerate(("600", "1100", "2200")):
            row = (budget, method.lower(), "robust_auroc")
            key = ("siim-acr", SPECIFICITIES[specificity], *row)
            expected[key] = (printed[2 * i], printed[2 * i + 1])
    assert len(expected) == 12
    assert cells("table4") == expected
    assert tables()["saab2022/table4"].seeds == 3


def test_figure_3_states_orders_without_numbers() -> None:
    """With specificity robust AUROC rises, and variance and mutual information fall."""
    values = tables()["saab2022/figure3"].values
    assert {value.mean for value in values} == {None}
    falling = tuple(reversed(RESOLUTIONS))
    for metric, rising in (
        ("robust_auroc", RESOLUTIONS),
        ("variance_measure", falling),
        ("mutual_information", falling),
    ):
        ranked = {value.rank: value.specificity for value in values if value.metric == metric}
        assert tuple(ranked[rank] for rank in range(1, 6)) == rising


def test_contradictions_of_the_paper_are_told() -> None:
    """Where text and table differ the table counts, and a note says what the text has."""
    noted = {
        (v.specificity, v.method): v.note for v in tables()["saab2022/table1"].values if v.note
    }
    assert "0.46" in str(noted["label", "erm"])
    assert "0.45 (introduction)" in str(noted["label", "erm"])
    [lift] = [note for note in tables()["saab2022/table4"].notes if "lift of 5 points" in note]
    of_600 = {
        method: cells("table4")["siim-acr", "mask", "600", method, "robust_auroc"][0]
        for method in ("erm", "ssl", "spl")
    }
    for method in ("ssl", "spl"):
        points = 100 * (of_600[method] - of_600["erm"])  # type: ignore[operator]
        assert f"{points:.1f} points" in lift


def test_a_table_is_found_by_the_sweeps_dataset() -> None:
    """The name alone takes the sweep's own dataset; a third part takes another."""
    mine = find("saab2022/table1", "siim-acr")
    assert mine is not None
    assert {value.dataset for value in mine.values} == {"siim-acr"}
    assert mine.metrics == ("auroc", "robust_auroc")
    assert find("saab2022/table1/siim-acr", "phantom") == mine
    other = find("saab2022/table1/isic", "siim-acr")
    assert other is not None
    assert set(other.metrics) == {"robust_auroc", "auroc"}
    for name, dataset in (
        ("saab2022/table1", "phantom"),
        ("saab2022/table1/phantom", "siim-acr"),
        ("saab2022/table5", "siim-acr"),
        ("nobody/table1", "siim-acr"),
        ("saab2022", "siim-acr"),
        ("", "siim-acr"),
    ):
        assert find(name, dataset) is None


def test_every_name_is_taken_by_a_spec_and_found() -> None:
    """What `names` lists, a sweep on such a dataset may write; one name or several, or none."""
    axes = "axes: {{specificity: [mask], budget: [2], method: [erm], seed: [0]}}\n"
    text = "name: a\ndataset: {}\n" + axes
    assert len(names()) == len(set(names())) == sum(1 + len(t.datasets) for t in tables().values())
    for name in names():
        dataset = tables()["/".join(name.split("/")[:2])].datasets[-1]
        spec = parse_spec(text.format(dataset) + f"published: {name}\n")
        assert spec.published == (name,)
        assert find(name, dataset) is not None
    both = parse_spec(text.format("siim-acr") + "published: [saab2022/table4, saab2022/table1]\n")
    assert both.published == ("saab2022/table4", "saab2022/table1")
    assert parse_spec(text.format("x") + "published: null\n").published == ()
    elsewhere = parse_spec(text.format("phantom") + "published: saab2022/table4/siim-acr\n")
    assert elsewhere.published == ("saab2022/table4/siim-acr",)


def test_a_good_file_is_read() -> None:
    """Values as they stand, and the cells of an order with their places."""
    [table] = read_paper(GOOD, "here.yaml", "nobody2020")
    ordered = [
        PublishedValue(dataset="films", specificity=specificity, metric="robust_auroc", rank=rank)
        for rank, specificity in enumerate(("label", "r=2", "mask"), start=1)
    ]
    assert table == PublishedTable(
        name="nobody2020/table9",
        paper="A. Nobody, 2020",
        where="Table 9",
        shows="Nothing",
        seeds=3,
        epoch=SelectionRule("val", "loss"),
        decimals=2,
        notes=("Look twice.",),
        values=(
            PublishedValue(
                dataset="films",
                specificity="mask",
                budget="20",
                method="erm",
                metric="auroc",
                mean=0.5,
            ),
            *ordered,
        ),
    )


VALUE = '{dataset: films, specificity: mask, budget: "20", method: erm, metric: auroc, mean: 0.5}'
BAD: dict[str, tuple[str, str, str]] = {
    "no paper": ("paper: A. Nobody, 2020\n", "", "1: paper: missing"),
    "empty paper": ("A. Nobody, 2020", "''", "1: paper: '' given; expected text"),
    "unknown key": ("seeds: 3", "seed: 3", "6: tables.table9.seed: unknown key"),
    "rule of no paper": (
        "best val.loss",
        "kept",
        "7: tables.table9.epoch: 'kept' given; expected 'last' or 'best SPLIT.METRIC' with SPLIT",
    ),
    "parts of a decimal": ("decimals: 2", "decimals: 2.5", "8: tables.table9.decimals: 2.5 given"),
    "one seed": ("seeds: 3", "seeds: 1", "6: tables.table9.seeds: 1 given"),
    "no place": ("    where: Table 9\n", "", "3: tables.table9.where: missing"),
    "notes that are no list": ("[Look twice.]", "Look", "9: tables.table9.notes: 'Look' given"),
    "specificity": ("specificity: mask", "specificity: r=0", "11: tables.table9.values[0].specif"),
    "budget as a number": ('"20"', "20", "11: tables.table9.values[0].budget: 20 given"),
    "method": ("method: erm", "method: emr", "11: tables.table9.values[0].method: 'emr' given"),
    "metric": ("metric: auroc", "metric: auc", "11: tables.table9.values[0].metric: 'auc' given"),
    "text for a number": ("mean: 0.5", "mean: half", "11: tables.table9.values[0].mean: 'half'"),
    "no number": (", mean: 0.5", "", "11: tables.table9.values[0].mean: missing"),
    "null for a number": ("mean: 0.5", "mean: null", "11: tables.table9.values[0].mean: nothing"),
    "negative spread": ("mean: 0.5", "mean: 0.5, sd: -1", "11: tables.table9.values[0].sd: -1"),
    "rank of a value": (
        "mean: 0.5",
        "mean: 0.5, rank: 1",
        "11: tables.table9.values[0].rank: unkn",
    ),
    "number of an order": ("rising: [l", "mean: 1, rising: [l", "13: tables.table9.orders[0].mean"),
    "place twice": ("r=2, mask", "r=2, label", "13: tables.table9.orders[0].rising[2]: 'label'"),
    "place that is none": (
        "r=2, mask",
        "r=2, maks",
        "13: tables.table9.orders[0].rising[2]: 'maks'",
    ),
    "order without cells": (
        ", rising: [label, r=2, mask]",
        "",
        "13: tables.table9.orders[0].rising",
    ),
    "cell twice": (
        f"      - {VALUE}\n",
        f"      - {VALUE}\n      - {VALUE.replace('0.5', '0.6')}\n",
        "12: tables.table9.values[1]: auroc of this cell is given before",
    ),
}


@pytest.mark.parametrize(("old", "new", "start"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused(old: str, new: str, start: str) -> None:
    """One problem gives one line: file, line, key, what was given."""
    assert GOOD.count(old) == 1
    with pytest.raises(SpecError) as caught:
        read_paper(GOOD.replace(old, new), "here.yaml", "nobody2020")
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"here.yaml:{start}")


def test_a_table_that_says_nothing_is_refused() -> None:
    """Neither numbers nor orders, no table, and no file at all."""
    for text, message in (
        (GOOD[: GOOD.index("    values:")], "tables.table9: neither values nor orders"),
        (
            "paper: x\ntables: {}\n",
            "here.yaml:2: tables: an empty mapping given; expected a mapping from",
        ),
        ("paper: x\ntables: [1]\n", "here.yaml:2: tables: a list given"),
        ("", "empty"),
    ):
        with pytest.raises(SpecError) as caught:
            read_paper(text, "here.yaml", "nobody2020")
        assert message in str(caught.value)


def test_the_numbers_are_installed_with_the_package() -> None:
    """The files are package data; without them an installed sweep would know no paper."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = options["package-data"]["sweeps"]
    packed = {path for pattern in patterns for path in (ROOT / "sweeps").glob(pattern)}
    files = set(published.FOLDER.iterdir())
    assert files
    assert files <= packed


def test_reading_them_loads_no_heavy_module() -> None:
    """A plan that names a paper starts as quickly as one that does not."""
    code = (
        "import sys; from sweeps.spec import papers; papers.tables(); "
        "print(sorted({'torch', 'ray', 'boto3', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"

"""Numbers of Viviano et al.: each is the one that the paper prints, under the name of its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweeps.spec.papers import PublishedTable, tables

SHARED = Path(__file__).resolve().parents[4] / "shared"
PAPER = SHARED / "seeds" / "003_45f57801256e2fd2.txt"
NOTES = SHARED / "notes" / "methods.md"
needs_paper = pytest.mark.skipif(not PAPER.is_file(), reason="the paper is not beside us")
needs_notes = pytest.mark.skipif(not NOTES.is_file(), reason="the numbers of 2021 are not here")

MODELS = {"CNN": "cnn", "ResNet": "resnet", "Conv AE": "autoencoder", "UNet": "unet"}
ROWS = {
    "Actdiff": "actdiff",
    "Gradmask": "gradmask",
    "Actdiff & Gradmask": "actdiff-gradmask",
    "Classify Masked": "classify-masked",
    "Reconstruct Masked": "reconstruct-masked",
}
PAIR = re.compile(r"(\d+\.\d+) ± (\d+\.\d+)")
Numbers = dict[tuple[str, str, str, str | None], tuple[float, float | None]]


def printed(heading: str) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Model and row to the pairs of mean and standard deviation of a printed table."""
    found = {}
    for line in PAPER.read_text().partition(heading)[2].splitlines()[1:]:
        if not (pairs := PAIR.findall(line)):
            break
        name = line.split("\t")[0]
        [model] = [model for model in MODELS if name.startswith(f"{model} ")]
        found[model, name.removeprefix(f"{model} ")] = pairs
    assert len(found) == 22
    return found


def cell(model: str, row: str) -> tuple[str, str]:
    """Specificity and method of a printed row."""
    if row == "Classify":
        return "label", "reconstruct" if model in ("Conv AE", "UNet") else "erm"
    return "mask", ROWS[row]


def numbers(table: PublishedTable) -> Numbers:
    """Dataset, specificity, method and budget to mean and standard deviation."""
    assert {value.metric for value in table.values} == {"accuracy"}
    found = {
        (value.dataset, value.specificity, str(value.method), value.budget): (value.mean, value.sd)
        for value in table.values
    }
    assert len(found) == len(table.values)
    return found  # type: ignore[return-value]


@needs_paper
def test_table_1_is_as_printed() -> None:
    """Its middle column, at the last epoch; the other two are in notes of the numbers."""
    expected: dict[str, Numbers] = {key: {} for key in MODELS.values()}
    notes = {}
    for (model, row), (train, valid, best) in printed("Experiment Name\tTrain AUC").items():
        specificity, method = cell(model, row)
        expected[MODELS[model]]["crosses", specificity, method, "500"] = (
            float(valid[0]),
            float(valid[1]),
        )
        said = [f"{float(one):.2f}" for one in (*train, *best)]
        notes[MODELS[model], method] = "On training images {} ± {}, best epoch {} ± {}.".format(
            *said
        )
    for model in MODELS.values():
        table = tables()[f"viviano2019/table1-{model}"]
        assert numbers(table) == expected[model]
        assert (str(table.epoch), table.seeds, table.decimals) == ("last", 10, 2)
        for value in table.values:
            assert value.note == notes[model, str(value.method)]


@needs_paper
def test_table_2_is_as_printed() -> None:
    """Four columns, at the epoch with the best validation accuracy."""
    columns = ("crosses", "500"), *((f"msd-{o}", "128") for o in ("liver", "cardiac", "pancreas"))
    expected: dict[str, Numbers] = {key: {} for key in MODELS.values()}
    for (model, row), pairs in printed("Experiment Name\tSynthetic Test AUC").items():
        for (dataset, budget), (mean, sd) in zip(columns, pairs, strict=True):
            key = (dataset, *cell(model, row), budget)
            expected[MODELS[model]][key] = float(mean), float(sd)
    for model in MODELS.values():
        table = tables()[f"viviano2019/table2-{model}"]
        assert numbers(table) == expected[model]
        assert (str(table.epoch), table.seeds, table.decimals) == ("best val.accuracy", 10, 2)


@needs_paper
def test_the_two_sites_numbers_are_in_the_text() -> None:
    """Figure 5 is a picture: section 6 has the classifier without and with the correlation."""
    text = PAPER.read_text()
    assert "without a site-pathology bias scores a test AUC of 0.7, while" in text
    assert "scores below chance on the test set (0.44)" in text
    assert numbers(tables()["viviano2019/figure5"]) == {
        ("two-site-emphysema-even", "label", "erm", None): (0.7, None),
        ("two-site-emphysema", "label", "erm", None): (0.44, None),
    }


@needs_notes
def test_the_numbers_of_2021_are_as_noted() -> None:
    """Six methods on synthetic data with standard deviations, and on two sites without."""
    [line] = [line for line in NOTES.read_text().splitlines() if "Published 2021 tables" in line]
    synthetic = line.partition("synth: ")[2].partition(" X-ray")[0].rstrip(".").split(", ")
    sites = line.partition("pathology .9): ")[2].partition(" RSNA")[0].rstrip(".").split(",")
    names = {"classify": "erm", "clfmasked": "classify-masked"}
    expected = {}
    for part in synthetic:
        name, _, number = part.partition(" ")
        mean, _, sd = number.partition("±")
        expected[names.get(name, name)] = (float(mean), float(sd) if sd else None)
    table = tables()["viviano2021/synthetic"]
    assert {str(v.method): (v.mean, v.sd) for v in table.values} == expected
    assert len(expected) == 6
    other = tables()["viviano2021/two-sites"]
    of_sites = {str(v.method): (v.mean, v.sd) for v in other.values}
    means = [float(number) for number in sites]
    assert of_sites == {m: (n, None) for m, n in zip(expected, means, strict=True)}
    for one in (table, other):
        assert {value.metric for value in one.values} == {"auroc"}
        assert str(one.epoch) == "best val.loss"
        for value in one.values:
            assert value.specificity == ("label" if value.method == "erm" else "mask")

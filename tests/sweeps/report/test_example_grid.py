"""Example images on the page: groups, scores, answers and maps, from what trials kept."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image
from wards import Wards, records, run_wards

from cluster.stores.folder import FolderStore
from sweeps.commands.report import read_report_input
from sweeps.report import example_grid
from sweeps.report.build import build_report
from sweeps.report.example_grid import example_context
from sweeps.report.shown import Shown
from sweeps.report.trials import select_and_price
from sweeps.results import tables as results


def section_of(path: Path) -> str:
    """The section's HTML."""
    return path.read_text().partition("<h2>Example images</h2>")[2].partition("<h2>")[0]


def youden(labels: np.ndarray, scores: np.ndarray) -> float:
    """The highest threshold of the highest sensitivity + specificity - 1, by trying all."""
    best = (-1.0, 0.0)
    for threshold in np.unique(scores):
        called = scores >= threshold
        best = max(best, (called[labels == 1].mean() - called[labels == 0].mean(), threshold))
    return float(best[1])


def predictions_of(wards: Wards, specificity: str) -> pa.Table:
    """What the kept model of seed 0 said."""
    trials = results.read_trials(wards.store, wards.plan.done)
    first = pc.and_(pc.equal(trials["specificity"], specificity), pc.equal(trials["seed"], 0))
    [table] = results.each_table(wards.store, "predictions", trials.filter(first))
    return table.filter(table.column("kept"))


@pytest.mark.parametrize("specificity", ["label", "mask"])
def test_scores_and_answers_are_the_kept_models(wards: Wards, specificity: str) -> None:
    """For each image of the grid: its score, the call at validation's threshold, right or wrong."""
    section = section_of(wards.files.page)
    frame = predictions_of(wards, specificity).to_pandas()
    val, test = (frame[frame["split"] == split] for split in ("val", "test"))
    threshold = youden(val["label"].to_numpy(), val["score"].to_numpy())
    name = {"label": "Labels", "mask": "Masks"}[specificity]
    row = re.search(rf'<tr class="first"><th scope="row">{name} on 80 .*?</tr>', section, re.S)
    assert row is not None
    assert f"seed 0, threshold {threshold:.3f}" in row[0]
    ids = re.findall(r'alt="test image ([\w-]+)"', section)
    answers = re.findall(
        r'(\d\.\d{3})<span class="sub">(\w+)</span>(<span class="flag">wrong</span>)?', row[0]
    )
    assert len(ids) == len(answers) == 8
    of = test.set_index("sample_id")
    for sample_id, (score, words, wrong) in zip(ids, answers, strict=True):
        said = of.loc[sample_id]
        assert score == f"{said['score']:.3f}"
        positive = bool(said["score"] >= threshold)
        assert words == ("abnormal" if positive else "normal")
        assert bool(wrong) == (positive != bool(said["label"]))


def test_every_group_has_its_first_images(wards: Wards) -> None:
    """Two of each group of label and clip; those that contradict are marked; pictures decode."""
    section = section_of(wards.files.page)
    assert re.findall(r'colspan="2">(y = [^<]+)</th>', section) == [
        *("y = 0, no clip", "y = 0, clip *", "y = 1, no clip *", "y = 1, clip"),
    ]
    expected: dict[tuple[int, bool], list[str]] = {}
    for record in records():
        if record.split == "test":
            group = (record.label, bool(record.attributes["clip"]))
            expected.setdefault(group, []).append(record.sample_id)
    ids = re.findall(r'alt="test image ([\w-]+)"', section)
    assert ids == [name for group in sorted(expected) for name in expected[group][:2]]
    pictures = re.findall(r'base64,([^"]+)" alt="([^"]+)"', section)
    assert {alt for _, alt in pictures if not alt.startswith("test image")} == {
        *("saliency", "Grad-CAM", "predicted pixels"),
    }
    for data, _ in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (64, 64)


def test_without_pictures_the_page_says_what_keeps_some(tmp_path: Path) -> None:
    """One sentence; the option that it names makes later trials keep them, and these are shown."""
    store = FolderStore(tmp_path / "store")
    small = {"train.epochs": 1, "axes.specificity": ["label"], "explanations": False}
    before = small | {"axes.seed": [0], "examples": 0}
    spec, plan = run_wards(store, tmp_path / "cache", overrides=before)
    files = build_report(read_report_input(spec, plan, store), tmp_path / "before")
    section = section_of(files.page)
    assert "<img" not in section
    [named] = re.findall(r"<code>(examples: \d)</code>", section)
    assert named == "examples: 2"
    assert "What the models look at" not in files.page.read_text()
    after = small | {"axes.seed": [0, 1], "examples": 2}
    spec, plan = run_wards(store, tmp_path / "cache", overrides=after)
    files = build_report(read_report_input(spec, plan, store), tmp_path / "after")
    section = section_of(files.page)
    assert "seed 1, threshold" in section
    assert section.count('alt="test image') == 8
    assert "What the models look at" not in files.page.read_text()


def test_many_pictures_are_bounded(wards: Wards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer images of each group, then fewer purchases, and the page says how many are left."""
    priced = select_and_price(wards.source, None)
    cells = [
        {"specificity": s, "budget": "80", "method": "erm", "cell": cell}
        | {"robust_auroc_mean": {"label": 0.7, "mask": 0.9}[s]}
        for s, cell in dict(zip(priced["specificity"], priced["cell"], strict=True)).items()
    ]
    shown = Shown(cells, "")
    monkeypatch.setattr(example_grid, "MOST_IMAGES", 5)
    found = example_context(wards.source, priced, shown)
    assert [len(group["ids"]) for group in found["groups"]] == [1, 1, 1, 1]
    assert "4 more example images are in the tables" in found["note"]
    assert {row["purchase"] for row in found["rows"] if row["purchase"]} == {
        *("Labels on 80 images, trained with erm", "Masks on 80 images, trained with erm"),
    }
    monkeypatch.setattr(example_grid, "MOST_BYTES", 1)
    found = example_context(wards.source, priced, shown)
    named = [row["purchase"] for row in found["rows"] if row["purchase"]]
    assert named == ["Masks on 80 images, trained with erm"]  # the better one
    assert "1 more purchase has pictures" in found["note"]
    silent = example_context(replace(wards.source, read_predictions=None), priced, shown)
    assert "2 purchases have no stored scores." in silent["note"]
    assert all(tile["answer"] is None for row in silent["rows"] for tile in row["tiles"])

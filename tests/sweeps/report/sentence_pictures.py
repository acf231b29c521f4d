"""Claims of what stands below the figures of embeddings and of resolutions, held to the figures."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sentence_claims import CONSTANT, DOCUMENT, LIMIT, claim, number, same
from sentence_document import Block, Text
from sentence_facts import Cell, Facts, noun
from sentence_squares import measured, options_of
from squares_counted import by_equations, exactly

FEWEST_RESOLUTIONS = 3


def embedded(f: Facts) -> dict[Any, Any]:
    """Purchases with stored embeddings: the trial of the first seed that has them."""
    ids = f.raw.others["embedded"]
    of = {c: [t for t in c.trials if t.row["trial_id"] in ids] for c in f.cells}
    return {cell: min(having, key=lambda t: t.row["seed"]) for cell, having in of.items() if having}


def groups_of(f: Facts, trial: Any, attribute: str) -> Counter[tuple[int, bool]]:
    """Test images by label and attribute."""
    rows = f.raw.predictions[trial.row["trial_id"]]
    rows = rows[(rows["split"] == "test") & rows["kept"]]
    return Counter(zip(rows["label"], rows[f"spurious_{attribute}"], strict=True))


@claim(
    r"Embeddings of test images by the kept model of each purchase's first seed that has them, "
    r"projected by UMAP with (?P<metric>\w+) distance and at most (?P<near>[\d,]+) neighbours, at "
    r"most (?P<most>[\d,]+) images each; coloured by label \(y\) and attribute (?P<name>\w+) "
    r"\(s\)\."
)
def projection(f: Facts, metric: str, near: str, most: str, name: str) -> None:
    """Panels, seeds, images and colours of the figure, and what it was projected by."""
    same(name, sorted(c[9:] for c in _columns(f) if c.startswith("spurious_"))[0])
    pictures, expected = f.raw.others["pictures"], embedded(f)
    assert len(pictures["panels"]) == len(pictures["fits"]) == len(expected)
    pairs = zip(pictures["panels"], pictures["fits"], expected.items(), strict=True)
    for (title, colours), fit, (cell, trial) in pairs:
        same(title, f"{noun(cell.key[0])}, {_images(cell)} images\n{_method(cell, trial)}")
        groups = groups_of(f, trial, name)
        images = min(groups.total(), int(number(most)))
        assert fit == (min(int(number(near)), images - 1), metric, images), fit
        assert colours.total() == images
        assert len(colours) == len(groups)
        if images == groups.total():
            assert sorted(colours.values()) == sorted(groups.values())


def _columns(f: Facts) -> Sequence[str]:
    return [str(column) for table in f.raw.predictions.values() for column in table]


def _images(cell: Cell) -> str:
    return "all" if cell.key[1] == "all" else f"{int(cell.key[1]):,}"


def _method(cell: Cell, trial: Any) -> str:
    return f"{cell.key[2]}, seed {trial.row['seed']}"


@claim(
    r"Scatter plots of test images in two dimensions, coloured by label \(y\) and attribute "
    r"(?P<name>\w+) \(s\), one per purchase\."
)
def plots(f: Facts, name: str) -> None:
    """A panel for each that has embeddings."""
    assert f"spurious_{name}" in _columns(f)
    assert len(f.raw.others["pictures"]["panels"]) == len(embedded(f))


def by_resolution(f: Facts) -> dict[int, list[Cell]]:
    """Purchases of coarse masks with a robust AUROC, by r."""
    known = [c for c in f.cells if c.key[0].startswith("r=") and c.values("robust_auroc")]
    of: dict[int, list[Cell]] = {}
    for cell in known:
        of.setdefault(int(cell.key[0][2:]), []).append(cell)
    return dict(sorted(of.items()))


def lines_of(f: Facts) -> dict[str, Any]:
    """What is drawn against r."""
    drawn: dict[str, Any] = f.raw.others["pictures"]["resolution"]
    return drawn


def against_r(f: Facts) -> None:
    """Every point of both panels is at an r of the sweep."""
    drawn, expected = lines_of(f), list(by_resolution(f))
    assert len(expected) >= FEWEST_RESOLUTIONS
    for points in drawn["bars"].values():
        assert [point[0] for point in points] == expected
    for _, points in drawn["lines"].values():
        assert [x for x, _ in points] == expected


CONSTANT["Against the resolution r of the masks."] = against_r
CONSTANT[
    "Line plots of robust AUROC and of pixel measures against the resolution r of the masks."
] = against_r


@claim(
    r"Left: robust AUROC on test, means over seeds with 95 % intervals for new seeds and new "
    r"patients, and single seeds as dots; the grey line is chance\."
)
def left(f: Facts) -> None:
    """Means, limits and seeds of every budget and method; a line at 0.5."""
    drawn, cells = lines_of(f), [c for of in by_resolution(f).values() for c in of]
    assert drawn["level"] == [[0.5, 0.5]]
    lines = sorted({c.key[1:] for c in cells})
    assert len(drawn["dots"]) == len(drawn["bars"]) == len(lines)
    for (budget, method), dots in zip(lines, drawn["dots"], strict=True):
        line = [c for c in cells if c.key[1:] == (budget, method)]
        bars = drawn["bars"][f"{method}, {_images(line[0])} images"]
        for cell, (_, mean, low, high) in zip(line, bars, strict=True):
            of = cell.robust
            assert math.isclose(mean, of.mean, abs_tol=1e-6)
            ends = (of.low, of.high) if of.kind == "two-sided" else (of.mean, of.mean)
            if of.kind in ("two-sided", "none"):
                assert np.allclose((low, high), ends, rtol=0, atol=LIMIT), f"{cell.name}: {low}"
        seeds = [(int(c.key[0][2:]), v) for c in line for v in c.values("robust_auroc").values()]
        assert np.allclose(sorted(dots), sorted(seeds), rtol=0, atol=1e-6)


RIGHT = (
    r"Right: variance of the pixels that the annotation calls abnormal, as measured, each line "
    r"divided by its largest value"
)


def compare_lines(f: Facts, expected: dict[str, tuple[str, list[float]]]) -> None:
    """The right panel's lines have these styles and values, divided by their largest."""
    lines = lines_of(f)["lines"]
    shown = {name: of for name, of in expected.items() if np.nanmax([0, *of[1]]) > 0}
    assert lines.keys() == shown.keys()
    for name, (style, values) in shown.items():
        same(lines[name][0], style)
        points = [y for _, y in lines[name][1]]
        assert np.allclose(points, np.divide(values, np.nanmax(values)), atol=1e-6), name


def variances(f: Facts) -> list[float]:
    """Means over all trials of an r of what they measured."""
    rows = f.raw.epochs[f.raw.epochs["metric"] == "variance_measure"]
    known = rows.set_index("trial_id")["value"]
    ids = [[t.row["trial_id"] for c in cells for t in c.trials] for cells in _all_of_r(f)]
    return [float(known.loc[of].mean()) for of in ids]


def _all_of_r(f: Facts) -> list[list[Cell]]:
    return [[c for c in f.cells if c.key[0] == f"r={r}"] for r in by_resolution(f)]


@claim(RIGHT + r"\.")
def right(f: Facts) -> None:
    """The variance alone: the images are not squares."""
    assert f.raw.others["squares"] is None
    compare_lines(f, {"variance, measured": ("-", variances(f))})


@claim(
    RIGHT + r"; and variance and mutual information in the model of squares, by the paper's "
    r"equations \(dashed\) and exactly, and the information as measured on training images\."
)
def right_of_squares(f: Facts) -> None:
    """The variance, and both measures by equations, over every placement and on images."""
    options, kinds = options_of(f), [f"r={r}" for r in by_resolution(f)]
    expected = {"variance, measured": ("-", variances(f))}
    for name, form, style in (("closed form", by_equations, "--"), ("exact", exactly, "-")):
        curve = [form(options, kind) for kind in kinds]
        expected[f"variance, {name}"] = (style, [of.variance for of in curve])
        expected[f"mutual information, {name}"] = (style, [of.nats for of in curve])
    expected["mutual information, measured"] = ("-", [measured(f, kind).nats for kind in kinds])
    compare_lines(f, expected)


def figures(f: Facts, blocks: Sequence[Block]) -> None:
    """The page has a figure of resolutions from three on, and of embeddings where there are any."""
    texts = [block for block in blocks if isinstance(block, Text)]
    if not any(block.kind == "alt" for block in texts):
        return  # Markdown has no figures
    words = " ".join(block.words for block in texts)
    enough = len(by_resolution(f)) >= FEWEST_RESOLUTIONS
    assert bool(re.search(r"Against the resolution r", words)) == enough
    having = bool(embedded(f)) if "embedded" in f.raw.others else False
    assert bool(re.search(r"Embeddings of test images", words)) == having
    files = f.raw.others["files"]
    assert ("resolution.png" in files, "projection.png" in files) == (enough, having)


DOCUMENT.append(figures)

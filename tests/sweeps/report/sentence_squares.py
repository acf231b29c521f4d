"""Claims of the model of squares: its table, and the note on what differs and what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from sentence_claims import CONSTANT, DOCUMENT, claim, near, number, same, spread, table
from sentence_document import Block, Entry, Table, Text
from sentence_facts import Cell, Facts, noun
from sentence_statistics import Array, t_limits
from squares_counted import (
    Measures,
    by_equations,
    channel,
    exactly,
    gamma_of,
    highest,
    of_training,
    on_images,
    reach,
    target_of,
    w_of,
)

HEADING = "Variance and information in the model of squares"
BITS = math.log(2.0)


def options_of(f: Facts) -> dict[str, Any]:
    """The generator's options."""
    return dict(f.raw.others["squares"]["options"])


def drawn_again(f: Facts) -> tuple[int, dict[str, Any]]:
    """How many training images are measured, and these."""
    of = f.raw.others["squares"]
    count = min(len(of["labels"]), max(1, of["most_pixels"] // options_of(f)["image_size"] ** 2))
    return count, {name: of[name][:count] for name in ("labels", "pixels", "abnormal", "blocks")}


def measured(f: Facts, kind: str) -> Measures:
    """Both measures of the abnormal ones of these."""
    _, of = drawn_again(f)
    chosen = of["labels"] == 1
    arrays = (of[name][chosen] for name in ("pixels", "abnormal", "blocks"))
    return on_images(*arrays, options_of(f), kind)


def of_trials(f: Facts, kind: str, budget: str) -> Array:
    """Variance of the annotated images' targets over that of all training pixels, by seed."""
    of, values = f.raw.others["squares"], []
    cells = [cell for cell in f.cells if cell.key[:2] == (kind, budget)]
    k = reach(options_of(f), kind)
    for seed in sorted({t.row["seed"] for cell in cells for t in cell.trials}):
        chosen = [at for at in of["annotated"][budget, seed] if of["labels"][at] == 1]
        within = [of["pixels"][at][target_of(of["abnormal"][at], k)] for at in chosen]
        values.append(np.concatenate(within).var() / of["pixels"].var())
    return np.array(values)


def check_row(f: Facts, row: dict[str, Entry], buy: str) -> Cell:
    """The purchases of a row, by annotation and images; the first of them."""
    shown = row["images"].main.replace(",", "")
    found = [c for c in f.cells if noun(c.key[0]) == row[buy].main and c.key[1] == shown]
    assert found, f"no purchase of {row[buy].main} on {shown} images"
    return found[0]


def check_rows(f: Facts, of: Table) -> None:
    """A row for each annotation and number of images."""
    assert len(of.rows) == len({c.key[:2] for c in f.cells})
    assert len({(row[0].main, row[1].main) for row in of.rows}) == len(of.rows)


@table("buy", "images", "variance, closed form", "variance, exact", "variance, measured")
def on_the_page(f: Facts, of: Table) -> None:
    """By equations, over every placement, and on the images."""
    check_rows(f, of)
    options = options_of(f)
    whole = of_training(options)
    for record in of.records():
        row = {name.lower(): entry for name, entry in record.items()}
        kind, budget, _ = check_row(f, row, "buy").key
        values = of_trials(f, kind, budget)
        for name, form in (
            ("closed form", by_equations(options, kind)),
            ("exact", exactly(options, kind)),
            ("measured", measured(f, kind)),
        ):
            variance, information = row[f"variance, {name}"], row[f"information, {name}"]
            near(variance.main, form.variance)
            standardised = form.variance / whole if name != "measured" else values.mean()
            near(variance.more[0].removesuffix(" standardised"), standardised)
            near(information.main.removesuffix(" nats"), form.nats)
            near(information.below.removesuffix(" bits"), form.nats / BITS)
            if name == "measured":
                spread(", ".join(variance.more[1:]), *_limits(values))


def _limits(values: Array) -> tuple[float, float]:
    """Limits over seeds; a variance is not below 0."""
    low, high = t_limits(values)
    return max(low, 0.0), high


@table("annotation", "images", "variance, closed form", "variance, exact", "variance, measured")
def in_markdown(f: Facts, of: Table) -> None:
    """The same without bits."""
    check_rows(f, of)
    options = options_of(f)
    for record in of.records():
        row = {name.lower(): entry.main for name, entry in record.items()}
        kind, budget, _ = check_row(
            f, {n.lower(): entry for n, entry in record.items()}, "annotation"
        ).key
        forms = by_equations(options, kind), exactly(options, kind), measured(f, kind)
        for name, form in zip(("closed form", "exact", "measured"), forms, strict=True):
            near(row[f"variance, {name}"], form.variance)
            near(row[f"information, {name} (nats)"], form.nats)
        near(row["variance, exact, standardised"], forms[1].variance / of_training(options))
        near(row["variance, measured, standardised"], float(of_trials(f, kind, budget).mean()))


FORMS = (
    "The closed form takes the target for a whole square around the abnormality, and its normal "
    "pixels for spurious as often as all others; in the images the border cuts the target off, and "
    "the spurious block "
)


def between(f: Facts) -> list[str]:
    """Every resolution whose targets are neither all whole images nor the masks."""
    options = options_of(f)
    n = options["image_size"]
    kinds = [f"r={r}" for r in range(2, n // 2 + 1)]
    kinds = [kind for kind in kinds if exactly(options, kind).area < n * n]
    assert kinds
    assert all(1 < reach(options, kind) < n for kind in kinds)
    return kinds


def border_cuts(f: Facts) -> None:
    """Targets are smaller on average than the square that the equations take."""
    for kind in between(f):
        size = options_of(f)["abnormality_size"] ** 2
        closed = size / gamma_of(options_of(f), reach(options_of(f), kind))
        assert exactly(options_of(f), kind).area < closed, kind


def beside(f: Facts) -> None:
    """The block keeps away; forms agree at both ends alone, and thin rings hold less of it."""
    options = options_of(f)
    same(options["overlap"], "avoid")
    border_cuts(f)
    for kind, agree in [("label", True), ("mask", True), *((k, False) for k in between(f))]:
        closed, exact = by_equations(options, kind), exactly(options, kind)
        assert exact.joint[1, 1] == 0.0
        equal = np.allclose(closed.joint, exact.joint, rtol=0, atol=1e-12)
        assert equal == agree, f"{kind}: {closed}, {exact}"
        assert math.isclose(closed.variance, exact.variance, abs_tol=1e-9) == agree, kind
    rings = [exactly(options, kind).ring for kind in ("mask", *reversed(between(f)), "label")]
    assert rings == sorted(rings)
    assert rings[0] < rings[1] < rings[-1]


def over(f: Facts) -> None:
    """The block may lie on the abnormality: some pixels are both."""
    options = options_of(f)
    same(options["overlap"], "independent")
    border_cuts(f)
    assert exactly(options, "label").joint[1, 1] > 0.0
    w = by_equations(options, "label").joint
    assert math.isnan(w[1, 1]) or w[1, 1] == 0.0


CONSTANT[
    f"{FORMS}keeps away from the abnormality, so that the thinner the ring around it, the fewer "
    "spurious pixels lie in it: the two agree on labels and masks and differ in between."
] = beside
CONSTANT[f"{FORMS}may cover the abnormality, which the equations rule out."] = over


@claim(
    r"The closed information rises until abnormal pixels are (?P<share>[\d.]+) of the target, and "
    r"only then falls to 0\."
)
def rises(f: Facts, share: str) -> None:
    """From labels on up to there, and down from there."""
    w, first = w_of(options_of(f)), gamma_of(options_of(f), options_of(f)["image_size"])
    near(share, highest(w), 1e-4)
    values = [channel(of, w) for of in np.linspace(first, number(share), 20)]
    assert values == sorted(values)
    assert values[-1] > values[0]
    values = [channel(of, w) for of in np.linspace(number(share) + 0.005, 1.0, 20)]
    assert values == sorted(values, reverse=True)
    assert abs(values[-1]) < 1e-12


@claim(
    r"The abnormality leaves no room for it \(w is (?P<w>[\d.]+), above 1\), so the closed form "
    r"has no values\."
)
def no_room(f: Facts, w: str) -> None:
    """The block is larger than all normal pixels, were it beside the abnormality."""
    near(w, w_of(options_of(f)))
    assert w_of(options_of(f)) > 1.0


@claim(
    r"Measured on (?P<positives>[\d,]+) abnormal images? of (?P<which>all|the first) "
    r"(?P<n>[\d,]+) training images, whatever a budget annotates; the standardised variance is "
    r"that of the trials, of the images that they were annotated with\."
)
def images(f: Facts, positives: str, which: str, n: str) -> None:
    """All of them where they are few enough; `on_the_page` holds the standardised variances."""
    count, of = drawn_again(f)
    assert number(n) == count, f"{n}, but {count} images are few enough"
    assert number(positives) == int((of["labels"] == 1).sum())
    same(which, "all" if count == options_of(f)["n_train"] else "the first")


CONSTANT.update(
    dict.fromkeys(
        (
            "Var(X | T = 1) and I(S; Y | T = 1) of pixels X, abnormal ones Y, spurious ones S and "
            "the target T: by equations (7) and (13) of Saab et al.",
            "2022; exactly, as the mean over every placement of the two blocks; and measured on "
            "the images.",
            "Divided by the variance of all training pixels, a variance is standardised.",
        )
    )
)
"""`on_the_page` holds all numbers to these definitions."""


def section(f: Facts, blocks: Sequence[Block]) -> None:
    """The section is there for squares alone, and its note has what these squares call for."""
    words = " ".join(block.words for block in blocks if isinstance(block, Text))
    tables = [block for block in blocks if isinstance(block, Table) and block.heading == HEADING]
    if f.raw.others["squares"] is None:
        assert not tables
        assert HEADING not in words
        return
    assert len(tables) == 1
    options = options_of(f)
    w, first = w_of(options), gamma_of(options, options["image_size"])
    expected = {
        "keeps away from": options["overlap"] == "avoid",
        "may cover the": options["overlap"] == "independent",
        "The closed information rises": 0.0 < w < 1.0 and first < highest(w),
        "leaves no room": w > 1.0,
        "Measured on ": True,
    }
    assert {text: text in words for text in expected} == expected


DOCUMENT.append(section)

"""The page's measures: variance of the annotated pixels, alignment of subgroups, gaps in AUROC.

And, of a sweep on generated squares, the two pixel measures by the paper's equations, exactly, and
on the images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from cluster.common.wording import count_of
from spurious.config.datasets import GaussianSquares
from spurious.config.options import Specificity
from spurious.errors import ConfigError
from spurious.scoring.registry import METRICS
from spurious.squares.images import MeasuredSquares
from spurious.squares.images import measure_squares as measured_squares
from spurious.squares.model import (
    SquareMeasures,
    closed_form,
    exact,
    maximiser,
    training_variance,
)
from sweeps.plan.cell import Cell
from sweeps.report.cells import CELL, cell_keys
from sweeps.report.statistics import Summary, summarize, summarize_images, within
from sweeps.report.wording import annotation, images, interval, number

VARIANCE = "variance_measure"
BY_ATTRIBUTE = ("alignment_y0", "alignment_y1", "auroc_gap")


def measure_context(
    squares: GaussianSquares | None, cells: pd.DataFrame, measured: pd.DataFrame
) -> dict[str, Any]:
    """Build the context of `measures.html`: `measures`, `squares` (may be empty) and a note.

    Args:
        squares: The generator's options where the images are generated squares.
        cells: The result of `cells`.
        measured: The result of `measures`.
    """
    return {
        "measures": measure_rows(cells, measured),
        "squares": [] if squares is None else square_rows(squares, cells, measured),
        "squares_note": (
            "" if squares is None else f"{square_note(squares)} {_images_note(squares, cells)}"
        ),
    }


def measures(priced: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Return what each trial measured, on train for the variance and on test for the others.

    Args:
        priced: The result of `price_trials`.
        epochs: Columns of `sweeps.results.schemas.EPOCHS`; rows of other attempts are ignored.

    Returns:
        Columns of `CELL`, `cell`, `seed`, `attribute` and the four measures, a row per trial and
        spurious attribute: NaN where undefined, one row with attribute '' where a trial has none.
        Variance and alignment are of the kept epoch, the gap is of the chosen one. Trials of a
        version that did not measure are left out.
    """
    chosen = priced[["trial_id", "attempt", "epoch", "seed", *CELL, "cell"]]
    rows = epochs.merge(chosen, on=["trial_id", "attempt"], suffixes=("", "_chosen"))
    keys = ["trial_id", "seed", *CELL, "cell"]
    on_test = rows["split"].eq("test") & rows["attribute"].notna()
    at_chosen = rows["epoch"].eq(rows["epoch_chosen"]).fillna(False).astype(bool)
    once = rows["metric"].isin(BY_ATTRIBUTE[:2])
    gaps = rows["metric"].eq(BY_ATTRIBUTE[2]) & at_chosen
    wide = rows[on_test & (once | gaps)].pivot(
        index=["trial_id", "attribute"], columns="metric", values="value"
    )
    wide = wide.reindex(columns=BY_ATTRIBUTE).reset_index()
    of_train = rows[rows["metric"].eq(VARIANCE)]
    table = of_train[[*keys, "value"]].rename(columns={"value": VARIANCE})
    table = table.merge(wide, on="trial_id", how="left").fillna({"attribute": ""})
    columns = [*CELL, "cell", "seed", "attribute", VARIANCE, *BY_ATTRIBUTE]
    return table[columns].sort_values([*CELL, "attribute", "seed"], ignore_index=True)


def measure_rows(cells: pd.DataFrame, measured: pd.DataFrame) -> list[dict[str, Any]]:
    """The table of measures: a row per cell and attribute, means over seeds with intervals."""
    of_cells: dict[tuple[str, ...], list[tuple[str, pd.DataFrame]]] = {}
    for names, group in measured.groupby([*CELL, "attribute"], sort=True):
        *of_cell, attribute = map(str, names)
        of_cells.setdefault(tuple(of_cell), []).append((attribute, group))
    return [
        {
            **_bought(cell),
            "method": key[2],
            "attribute": attribute,
            "seeds": len(group),
            "means": [
                _summarise(summarize_images(group[VARIANCE])),
                *(_summarise(summarize(group[name]), name) for name in BY_ATTRIBUTE),
            ],
        }
        for cell, key in zip(cells["cell"], cell_keys(cells), strict=True)
        for attribute, group in of_cells.get(key, ())
    ]


def square_rows(
    options: GaussianSquares, cells: pd.DataFrame, measured: pd.DataFrame
) -> list[dict[str, Any]]:
    """Return the model of squares beside what is measured, a row per specificity and budget.

    Measured are both on the generator's training images, and by the trials the variance of what
    they were annotated with, standardised. That does not depend on the method: each seed counts
    once.
    """
    once = measured.drop_duplicates(["specificity", "budget", "seed"])
    groups = dict(list(once.groupby(["specificity", "budget"], sort=False)))
    whole, rows = training_variance(options), []
    on_images = squares_measured(options, cells).by_specificity
    for key, cell in {cell.key[:2]: cell for cell in cells["cell"]}.items():
        specificity = cell.specificity
        forms = [form(options, specificity) for form in (closed_form_or_nan, exact)]
        values = groups[key][VARIANCE] if key in groups else pd.Series(dtype=float)
        rows.append(
            {
                **_bought(cell),
                "forms": [_form(form, whole) for form in forms],
                "on_images": _form(on_images[specificity], whole),
                "measured": _summarise(summarize_images(values)),
            }
        )
    return rows


def closed_form_or_nan(options: GaussianSquares, specificity: Specificity) -> SquareMeasures:
    """Return the paper's equations, NaN where the spurious block has no room for them."""
    try:
        return closed_form(options, specificity)
    except ConfigError:
        return SquareMeasures(math.nan, math.nan, math.nan, math.nan)


def squares_measured(options: GaussianSquares, cells: pd.DataFrame) -> MeasuredSquares:
    """Both measures on the generator's training images, at every specificity of the cells."""
    specificities = dict.fromkeys(cell.specificity for cell in cells["cell"])
    return measured_squares(options, tuple(specificities))


def _images_note(options: GaussianSquares, cells: pd.DataFrame) -> str:
    """Return which images were measured."""
    measured = squares_measured(options, cells)
    which = "all" if measured.images == options.n_train else "the first"
    return (
        f"Measured on {count_of(measured.positives, 'abnormal image')} of {which} "
        f"{measured.images:,} training images, whatever a budget annotates; the standardised "
        f"variance is that of the trials, of the images that they were annotated with."
    )


def square_note(options: GaussianSquares) -> str:
    """Return where closed form and exact value differ on these images, and why."""
    text = (
        "The closed form takes the target for a whole square around the abnormality, and its "
        "normal pixels for spurious as often as all others; in the images the border cuts the "
        "target off, "
    )
    if options.overlap == "avoid":
        text += (
            "and the spurious block keeps away from the abnormality, so that the thinner the ring "
            "around it, the fewer spurious pixels lie in it: the two agree on labels and masks and "
            "differ in between."
        )
    else:
        text += "and the spurious block may cover the abnormality, which the equations rule out."
    n, a, b = options.image_size, options.abnormality_size, options.spurious_size
    w = options.spurious_given_positive * b * b / (n * n - a * a) if n > a else 0.0
    if 0.0 < w < 1.0 and a * a / (n * n) < maximiser(w):
        text += (
            f" The closed information rises until abnormal pixels are {number(maximiser(w), 2)} of "
            "the target, and only then falls to 0."
        )
    if w > 1.0:
        text += (
            f" The abnormality leaves no room for it (w is {number(w, 2)}, above 1), so "
            "the closed form has no values."
        )
    return text


def _bought(cell: Cell) -> dict[str, Any]:
    return {"annotation": annotation(cell.specificity), "images": images(cell.budget)}


def _summarise(summary: Summary, metric: str = VARIANCE) -> tuple[str, str]:
    """Return the mean and interval over seeds in words; empty without an interval."""
    summary = within(summary, METRICS[metric])
    if math.isnan(summary.low):
        return number(summary.mean), ""
    return number(summary.mean), interval(summary.low, summary.high)


def _form(form: SquareMeasures, whole: float) -> Mapping[str, str]:
    return {
        "variance": number(form.variance),
        "standardised": number(form.variance / whole),
        "nats": number(form.mi, 5),
        "bits": number(form.mi_bits, 5),
    }

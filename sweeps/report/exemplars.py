"""Which explanations served trials as good and bad examples, and how they were judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sweeps.report.wording import annotation, images, number

GOOD, BAD = "exemplar_good", "exemplar_bad"


def exemplar_rows(
    priced: pd.DataFrame, epochs: pd.DataFrame, sample_ids: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Return a row per trial that has examples, in the order of trials' cells and seeds.

    Args:
        priced: The result of `price_trials`.
        epochs: Columns of `sweeps.results.schemas.EPOCHS`.
        sample_ids: Ids of all images, ascending, which trials name by their place; None where they
            are not known, and the place is shown.
    """
    keys = ["trial_id", "attempt"]
    mine = epochs[epochs["metric"].isin([GOOD, BAD, f"{GOOD}_precision", f"{BAD}_precision"])]
    values = mine.merge(priced[keys], on=keys).pivot(
        index="trial_id", columns="metric", values="value"
    )
    trials = priced[priced["trial_id"].isin(values.index)]
    ordered = trials.sort_values(["specificity", "budget", "method", "seed"])
    return [
        {
            "annotation": annotation(trial["cell"].specificity),
            "images": images(trial["cell"].budget),
            "method": trial["method"],
            "seed": int(trial["seed"]),
            "good": _name(values.loc[trial["trial_id"]], GOOD, sample_ids),
            "bad": _name(values.loc[trial["trial_id"]], BAD, sample_ids),
        }
        for trial in ordered.to_dict("records")
    ]


def needs_ids(epochs: pd.DataFrame) -> bool:
    """Return whether a trial names images by their place."""
    return bool((epochs["metric"] == GOOD).any())


def _name(
    values: Mapping[Any, Any] | pd.Series[Any], what: str, ids: Sequence[str] | None
) -> dict[str, str]:
    """Return the id of an example, and its activation precision where a rule picked it."""
    place, precision = int(values[what]), float(values[f"{what}_precision"])
    known = ids is not None and place < len(ids)
    return {
        "id": str(ids[place]) if ids is not None and known else f"image {place} by ascending id",
        "precision": "" if pd.isna(precision) else f"AP {number(precision)}",
    }

"""Subgroups as the page shows them: a table for each covariate, and what it does not say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cluster.common.wording import count_of
from sweeps.report.inference.intervals import Interval
from sweeps.report.shown import Shown
from sweeps.report.subgroups import METRICS, Subgroups
from sweeps.report.wording import NONE, describe_cell, limits, number, sentence

_KEY = ("specificity", "budget", "method")


def subgroup_context(subgroups: Subgroups, shown: Shown) -> dict[str, Any] | None:
    """Return the section; None where nothing is to be said.

    Args:
        subgroups: The result of `find_subgroups`.
        shown: The purchases.
    """
    frame = subgroups.frame
    if frame.empty and not subgroups.notes:
        return None
    intervals = int(sum((frame[f"{metric}_interval"] != "none").sum() for metric in METRICS))
    tables = [
        _table(str(name), rows, shown) for name, rows in frame.groupby("covariate", sort=True)
    ]
    return {
        "tables": tables,
        "caution": _caution(intervals, len(tables)) if tables else "",
        "note": shown.note,
        "notes": subgroups.notes,
        "has_robust": any(table["has_robust"] for table in tables),
    }


def _caution(intervals: int, covariates: int) -> str:
    """Say what many intervals, each of its own subgroup, do and do not tell."""
    return (
        f"Each interval is of its subgroup alone and not adjusted for how many are looked at, "
        f"{count_of(intervals, 'interval')} on {count_of(covariates, 'covariate')} here: about one "
        "in twenty misses its value by chance, and the subgroup that looks worst tends to look "
        "worse than it is. Purchases share their test images, so that chance shows in all of them "
        "at once. Subgroups also differ in how hard their images are: a lower AUROC is a reason to "
        "look closer and not yet an effect of the covariate."
    )


def _table(name: str, rows: pd.DataFrame, shown: Shown) -> dict[str, Any]:
    of_key: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows.sort_values("place", kind="stable").to_dict("records"):
        of_key.setdefault(tuple(row[part] for part in _KEY), []).append(_row(row))
    refused = _refused([row for of in of_key.values() for row in of])
    purchases = [
        {
            "name": sentence(describe_cell(cell["cell"])),
            "auroc": number(cell["auroc_mean"]),
            "auroc_limits": limits(cell["overall"]),
            "robust": number(cell["robust_auroc_mean"]),
            "robust_limits": limits(cell["robust"]),
            "rows": [row for row in of_key[key] if row["name"] not in refused],
        }
        for key, cell in zip(shown.keys, shown.cells, strict=True)
        if key in of_key
    ]
    has_robust = bool((rows[["robust_positives", "robust_negatives"]] > 0).any(axis=None))
    return {
        "name": name,
        "purchases": purchases if any(each["rows"] for each in purchases) else [],
        "refused": "; ".join(f"{group}, {why}" for group, why in refused.items()),
        "has_robust": has_robust,
    }


def _refused(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the subgroups that no purchase has a number for, with why and their images."""
    known = {row["name"] for row in rows if (row["auroc"], row["robust"]) != (NONE, NONE)}
    return {
        row["name"]: f"{row['limits']} ({row['positives']} abnormal, {row['negatives']} normal)"
        for row in rows
        if row["name"] not in known
    }


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    (overall, overall_limits), (robust, robust_limits) = (_words(row, metric) for metric in METRICS)
    return {
        "name": row["subgroup"],
        "positives": f"{row['positives']:,}",
        "negatives": f"{row['negatives']:,}",
        "robust_positives": f"{row['robust_positives']:,}",
        "robust_negatives": f"{row['robust_negatives']:,}",
        "auroc": overall,
        "limits": overall_limits,
        "robust": robust,
        "robust_limits": robust_limits,
    }


def _words(row: Mapping[Any, Any], metric: str) -> tuple[str, str]:
    """Return a mean with its interval; of a refused one a dash and the reason."""
    mean = float(row[f"{metric}_mean"])
    if math.isnan(mean):
        return NONE, str(row[f"{metric}_reason"])
    reason = row[f"{metric}_reason"]
    of = Interval(
        (mean,),
        mean,
        float(row[f"{metric}_low"]),
        float(row[f"{metric}_high"]),
        kind=row[f"{metric}_interval"],
        reason=reason or "",
    )
    return number(mean), (str(reason) if of.kind == "none" else limits(of))

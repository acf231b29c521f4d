"""The page's tables of metrics beside the main ones, and what every metric means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cluster.common.wording import count_of, has_or_have
from spurious.scoring.metric import Metric
from spurious.scoring.operating_point import OperatingPoint
from spurious.scoring.registry import METRICS
from sweeps.report.cells import CELL, cell_keys
from sweeps.report.measures import BY_ATTRIBUTE
from sweeps.report.statistics import summarize, within
from sweeps.report.tables import REPORT_METRICS, REPORT_SCHEMA_VERSION
from sweeps.report.wording import NONE, annotation, images, interval, number, sentence

_TRIAL = ["trial_id", "attempt", "epoch"]
_SIGNS = {"higher": "\N{UPWARDS ARROW}", "lower": "\N{DOWNWARDS ARROW}", "neither": ""}


def metric_frame(priced: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Return every metric of every trial at its chosen epoch, in long form.

    Args:
        priced: The result of `price_trials`.
        epochs: Columns of `sweeps.results.schemas.EPOCHS`, with what predictions say.

    Returns:
        Columns of `REPORT_METRICS`, a row per trial, split, metric and attribute.
    """
    here = epochs[epochs["metric"].isin(METRICS.keys())]
    rows = priced[[*_TRIAL, *CELL, "seed"]].merge(here.drop(columns="schema_version"), on=_TRIAL)
    rows = rows.assign(
        schema_version=REPORT_SCHEMA_VERSION,
        unit=[METRICS[name].unit for name in rows["metric"]],
        better=[METRICS[name].better for name in rows["metric"]],
    )
    rows = rows.sort_values(
        [*CELL, "seed", "split", "metric", "attribute"], na_position="first", ignore_index=True
    )
    return rows[[column.name for column in REPORT_METRICS]]


def metric_context(
    cells: pd.DataFrame,
    priced: pd.DataFrame,
    epochs: pd.DataFrame,
    frame: pd.DataFrame,
    point: OperatingPoint,
) -> dict[str, Any]:
    """Return what `metrics.html` prints.

    Args:
        cells: The result of `cells`.
        priced: The result of `price_trials`.
        epochs: As for `metric_frame`.
        frame: The result of `metric_frame`.
        point: How the threshold was fixed.
    """
    on_test = frame[frame["split"] == "test"]
    known = set(epochs.loc[epochs["split"] == "test", "metric"])
    known -= {name for name, m in METRICS.items() if m.in_trials} | set(BY_ATTRIBUTE)
    columns = [metric for name, metric in METRICS.items() if name in known]
    whole = [metric for metric in columns if metric.whole]
    grouped = [metric for metric in columns if not metric.whole]
    attributes = sorted(set(on_test["attribute"].dropna()))
    return {
        "point": str(point),
        "whole": _table(cells, priced, on_test[on_test["attribute"].isna()], whole, [""]),
        "grouped": _table(cells, priced, on_test, grouped, attributes),
        "glossary": [_meaning(metric) for metric in METRICS.values()],
        "note": _note(priced, epochs),
    }


def _table(
    cells: pd.DataFrame,
    priced: pd.DataFrame,
    values: pd.DataFrame,
    metrics: Sequence[Metric],
    attributes: Sequence[str],
) -> dict[str, Any]:
    """Headings, and a row per finished cell and attribute with means over its trials."""
    if not metrics:
        return {"columns": [], "rows": []}
    keyed = values.assign(attribute=values["attribute"].fillna(""))
    wide = keyed.pivot(index=["trial_id", "attribute"], columns="metric", values="value")
    wide = wide.reindex(columns=[metric.name for metric in metrics])
    trials: Mapping[Any, pd.DataFrame] = dict(list(priced.groupby(CELL, sort=False)))
    rows = []
    for cell, key in zip(cells["cell"], cell_keys(cells), strict=True):
        for attribute in attributes if key in trials else ():
            index = [(trial_id, attribute) for trial_id in trials[key]["trial_id"]]
            mine = wide.reindex(index)  # a trial without a value counts as undefined
            rows.append(
                {
                    "annotation": annotation(cell.specificity),
                    "images": images(cell.budget),
                    "method": key[2],
                    "attribute": attribute,
                    "means": [
                        _in_words(mine[m.name], m) if m.fits(cell.segments) else (NONE, "")
                        for m in metrics
                    ],
                    "seeds": len(mine),
                }
            )
    headings = [f"{sentence(metric.words)} {_SIGNS[metric.better]}".strip() for metric in metrics]
    return {"columns": headings, "rows": rows}


def _in_words(values: pd.Series[Any], metric: Metric) -> tuple[str, str]:
    """Return the mean over seeds; its interval, and how many are undefined."""
    summary = within(summarize(values), metric)
    spread = "" if math.isnan(summary.low) else interval(summary.low, summary.high)
    undefined = f"{summary.undefined} undefined" if summary.undefined else ""
    return number(summary.mean), ", ".join(part for part in (spread, undefined) if part)


def _meaning(metric: Metric) -> dict[str, str]:
    if metric.compute is not None:
        source = "stored predictions"
    else:
        source = "images" if metric.of_images and not metric.once else "epochs table"
    return {
        "name": metric.name,
        "words": metric.words,
        "unit": metric.unit or NONE,
        "better": metric.better,
        "meaning": metric.meaning,
        "source": source,
        "epochs": _known_at(metric),
    }


def _known_at(metric: Metric) -> str:
    if metric.per_epoch:
        return "every epoch"
    if metric.compute is not None:
        return "kept and last epoch"
    return "kept epoch" if metric.once else "any time"


def _note(priced: pd.DataFrame, epochs: pd.DataFrame) -> str:
    """Return how many trials have no stored predictions at their chosen epoch; empty where none."""
    computed_here = [m.name for m in METRICS.values() if m.compute and not m.per_epoch]
    having = epochs.loc[epochs["metric"].isin(computed_here), _TRIAL].drop_duplicates()
    lacking = len(priced) - len(priced[_TRIAL].merge(having, on=_TRIAL))
    if not lacking:
        return ""
    return (
        f"{count_of(lacking, 'trial')} of {len(priced):,} {has_or_have(lacking)} no stored "
        f"predictions at the epoch that counts, which is neither the kept nor the last one, or "
        f"{'its' if lacking == 1 else 'their'} predictions were removed: what only predictions "
        "give is undefined there."
    )

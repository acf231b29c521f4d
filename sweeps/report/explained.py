"""What the models look at: explanations in masks and on spurious features, beside robust AUROC."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from cluster.common.wording import count_of
from sweeps.report.cells import CELL, cell_keys
from sweeps.report.embedded import embed
from sweeps.report.statistics import Summary, summarize
from sweeps.report.tables import REPORT_SCHEMA_VERSION, ReportInput
from sweeps.report.unlocated import describe_unlocated
from sweeps.report.wording import NONE, annotation, images, interval, number, sentence

if TYPE_CHECKING:
    import pyarrow as pa

MEASURES = ("share", "activation_precision", "pointing")
KINDS = {
    "saliency": "saliency",
    "grad-cam": "Grad-CAM",
    "prediction": "predicted pixels",
}
REGIONS = {"mask": "mask", "box": "boxes"}
SMALL = 0.01
"""Share of an image below which a region's measures have five decimals."""
_FEWEST = 3
"""Trials below which a rank correlation says nothing."""


def reduce_explanations(trial: Mapping[str, Any], table: pa.Table) -> pd.DataFrame:
    """Return the means of a trial over its images, a row per map and region.

    Args:
        trial: A row of `trials`.
        table: Its rows of `explanations`.

    Returns:
        `trial_id`, `explanation`, `region`, `images`, `zeros` (maps of zeros, which have no share)
        and the measures with `chance`; a row without the others where no image has a region.
    """
    frame = table.to_pandas()
    if frame.empty:
        return pd.DataFrame([{"trial_id": trial["trial_id"], **dict.fromkeys(_COLUMNS)}])
    grouped = frame.groupby(["explanation", "region"], sort=True)
    means = grouped[[*MEASURES, "chance"]].mean()
    means.insert(0, "images", grouped.size())
    means.insert(1, "zeros", frame["share"].isna().groupby([frame[c] for c in _BY]).sum())
    means.insert(0, "trial_id", trial["trial_id"])
    reduced: pd.DataFrame = means.reset_index()
    return reduced


_BY = ("explanation", "region")
_COLUMNS = (*_BY, "images", "zeros", *MEASURES, "chance")


def explained_frame(
    priced: pd.DataFrame, trials: pd.DataFrame, explained: pd.DataFrame | None
) -> pd.DataFrame:
    """Return columns of `REPORT_EXPLANATIONS`, and `cell`: a row per trial, map and region.

    Args:
        priced: The result of `price_trials`.
        trials: Columns of `schemas.TRIALS`, whose robust AUROC is of the kept epoch, as
            explanations are.
        explained: Rows of `reduce_explanations` of any trials; None where none has any.
    """
    kept = trials[["trial_id", "test_robust_auroc"]]
    kept = kept.rename(columns={"test_robust_auroc": "robust_auroc"})
    rows = priced[["trial_id", *CELL, "cell", "seed"]].merge(kept, on="trial_id")
    if explained is None:
        columns = dict.fromkeys(_COLUMNS)
        return rows.iloc[:0].assign(schema_version=REPORT_SCHEMA_VERSION, **columns)
    joined = rows.merge(explained[explained["region"].notna()], on="trial_id")
    joined["schema_version"] = REPORT_SCHEMA_VERSION
    return joined.sort_values([*CELL, *_BY, "seed"], ignore_index=True)


def explained_context(
    source: ReportInput,
    cells: pd.DataFrame,
    priced: pd.DataFrame,
    explained: pd.DataFrame,
    pictures: Mapping[str, bytes | None],
) -> dict[str, Any] | None:
    """Return what the page's section prints; None where nobody asked and there is nothing.

    Args:
        source: The report's input.
        cells: The result of `cells`.
        priced: The result of `price_trials`.
        explained: The result of `explained_frame`.
        pictures: PNG bytes of `scatter` and `examples`, None where there is none.
    """
    known = set() if source.explained is None else set(source.explained["trial_id"])
    without = len(set(priced["trial_id"]) - known)
    bare = len(set(priced["trial_id"]) & known - set(explained["trial_id"]))
    drawn = {name: None if png is None else embed(png) for name, png in pictures.items()}
    if not source.asks_explanations and explained.empty and not any(drawn.values()):
        return None
    notes = []
    if without:
        notes.append(
            f"{without:,} of {count_of(len(priced), 'trial')} without explanations: finished "
            "before any were asked for, and not run again for it."
        )
    if bare:
        notes.append(
            f"{bare:,} of {count_of(len(priced), 'trial')} measured nothing: no test image has a "
            "mask, a box or a spurious feature whose pixels are known."
        )
    if unlocated := describe_unlocated(explained, source.provenance.directions):
        notes.append(unlocated)
    return {
        "rows": list(_rows(cells, explained)),
        "note": " ".join(notes),
        "orders": list(rank_orders(explained)),
        **drawn,
    }


def _rows(cells: pd.DataFrame, explained: pd.DataFrame) -> Iterator[dict[str, Any]]:
    of_cells: dict[tuple[str, ...], list[tuple[str, str, pd.DataFrame]]] = {}
    for names, group in explained.groupby([*CELL, *_BY], sort=True):
        *of_cell, kind, region = map(str, names)
        of_cells.setdefault(tuple(of_cell), []).append((kind, region, group))
    for cell, key in zip(cells["cell"], cell_keys(cells), strict=True):
        for kind, region, group in of_cells.get(key, ()):
            yield {
                "annotation": annotation(cell.specificity),
                "images": images(cell.budget),
                "method": key[2],
                "map": KINDS[kind],
                "region": describe_region(region),
                "means": [_words(summarize(group[name]), _digits(group)) for name in MEASURES],
                "chance": number(group["chance"].mean(), _digits(group)),
                "tested": f"{int(group['images'].iloc[0]):,}{_zeros(group)}",
                "seeds": int(group["share"].notna().sum()),
            }


def _digits(group: pd.DataFrame) -> int:
    """Return decimals that show a small region's share."""
    return 3 if group["chance"].mean() >= SMALL else 5


def _zeros(group: pd.DataFrame) -> str:
    """Return how many maps are zero everywhere, which have no share and chance's precision."""
    zeros = float(group["zeros"].mean())
    return f", {number(zeros, 0 if zeros >= 1 else 1)} maps of zeros" if zeros else ""


def _words(summary: Summary, digits: int) -> tuple[str, str]:
    """Return a mean of shares and its interval over seeds, cut off at 0 and 1."""
    if math.isnan(summary.low):
        return number(summary.mean, digits), ""
    cut = replace(summary, low=max(summary.low, 0.0), high=min(summary.high, 1.0))
    return number(cut.mean, digits), interval(cut.low, cut.high, digits)


def describe_region(region: str) -> str:
    """Return a region in words: `mask`, or `tube` for the spurious feature of that name."""
    return REGIONS.get(region, f"{region} (spurious)")


def rank_orders(explained: pd.DataFrame) -> Iterator[str]:
    """Say for each map and region how its share goes with robust AUROC, over trials and cells."""
    for names, group in explained.groupby(list(_BY), sort=True):
        kind, region = map(str, names)
        known = group.dropna(subset=["share", "robust_auroc"])
        means = known.groupby(CELL)[["share", "robust_auroc"]].mean()
        yield (
            f"{sentence(KINDS[kind])} in {describe_region(region)}: rank correlation with robust "
            f"AUROC {_rho(known)} over {count_of(len(known), 'trial')}, "
            f"{_rho(means)} over the means of {count_of(len(means), 'purchase')}"
        )


def _rho(values: pd.DataFrame) -> str:
    text = rank_correlation(values)
    return "undefined" if text == NONE else text


def rank_correlation(values: pd.DataFrame) -> str:
    """Return Spearman's rho of share and robust AUROC; a dash where either does not vary."""
    if len(values) < _FEWEST or (values.nunique() < 2)[["share", "robust_auroc"]].any():
        return NONE
    rho = values["share"].rank().corr(values["robust_auroc"].rank())
    return number(float(rho), 2)

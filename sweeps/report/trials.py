"""One row per trial: the selected epoch's metrics and what its annotations cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cluster.common.wording import all_of
from spurious.config.options import Prices
from spurious.data.mask_of import MaskOf
from spurious.data.splits import EVALUATION_SPLITS
from spurious.errors import ConfigError
from spurious.scoring.cost import PARTS, Items, charged_counts, price, trial_items
from spurious.scoring.registry import METRICS
from spurious.scoring.selection import SelectionRule, parse_rule
from sweeps.errors import ResultError
from sweeps.plan.cell import cell_of
from sweeps.report.epochs import Epochs
from sweeps.report.histories import Floats, Places, as_places
from sweeps.report.tables import REPORT_SCHEMA_VERSION, ReportInput
from sweeps.results.counts import COUNTS, read_counts

_AT_EPOCH = [m.name for m in METRICS.values() if m.whole and not m.once and not m.of_images]

_CHARGED = ["trial_id", "config", "keep_rule", *COUNTS]
"""Columns that a price follows from."""
DIVERGED = 1e3
"""Loss in nats above which training has diverged: chance is 0.69, and a wrong certainty 16."""


def select_trials(trials: pd.DataFrame, epochs: Epochs, rule: SelectionRule | None) -> pd.DataFrame:
    """Return each trial's selected epoch and its metrics, recomputed from the epochs table.

    A trial whose rule is undefined (its metric NaN or absent in every epoch) keeps NaN metrics,
    and `undefined` says why.

    Args:
        trials: One row per committed trial, columns of `sweeps.results.schemas.TRIALS`.
        epochs: Theirs.
        rule: The rule for every trial, or None for each trial's kept epoch.

    Returns:
        The trials' columns with `SPLIT_METRIC` of every metric that has a value per epoch, `rule`,
        `epoch` (nullable), `undefined`, `SPLIT_robust_auroc_NAME` per spurious attribute, and
        `cell` as a `Cell`.
        Sorted by trial id.

    Raises:
        ResultError: epochs are missing, or do not hold a trial's kept epoch.
    """
    selected = trials.sort_values("trial_id", ignore_index=True)
    places = _places(selected, epochs)
    row = _kept_rows(selected, epochs, places) if rule is None else epochs.choose(rule)[places]
    values = _values_at(epochs, row)
    robust = values["test_robust_auroc"]
    number = pd.array(epochs.histories.epochs[row], dtype="Int64")
    number[row < 0] = pd.NA
    return selected.assign(
        schema_version=REPORT_SCHEMA_VERSION,
        cell=pd.Series([cell_of(str(config)) for config in selected["config"]], dtype=object),
        rule=selected["keep_rule"].astype(str) if rule is None else str(rule),
        epoch=number,
        undefined=pd.Series(_reasons(selected, epochs, places, row, robust, rule), dtype="str"),
        training=pd.Series(_outcomes(epochs, places, row), dtype="str"),
        **values,
    )


def price_trials(
    selected: pd.DataFrame,
    prices: Prices,
    rule: SelectionRule | None,
    axis: Collection[str],
    mask_of: MaskOf,
    search: SelectionRule | None = None,
    compute: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Add what trials cost: dollars of each part, and `dollars`, the frontier's axis.

    Counts are the trial's own; `spurious.scoring.cost` prices them. What they are of is kept as
    `items`, (part, name of a price, how many) each.

    Args:
        selected: The result of `select_trials`.
        prices: Price table in force.
        rule: The rule that was given there; None charges each trial's own rule.
        axis: Parts that `dollars` counts, of `sweeps.spec.values.AXIS`.
        mask_of: What the dataset's masks are of.
        search: Of the metric that options were searched by; None where they were not.
        compute: Trial id to dollars of compute; None where they have no price.
    """
    items = [
        _items(trial, rule, mask_of, search) for trial in selected[_CHARGED].to_dict("records")
    ]
    parts = {part: [price(of[part], prices) for of in items] for part in PARTS}
    nothing = dict.fromkeys(selected["trial_id"], math.nan)
    of_compute = selected["trial_id"].map(nothing if compute is None else compute)
    counted = [np.asarray(parts[part], np.float64) for part in PARTS if part in axis]
    counted += [of_compute.to_numpy(np.float64)] if "compute" in axis else []
    return selected.assign(
        training_dollars=parts["training"],
        spurious_label_dollars=parts["spurious_labels"],
        validation_dollars=parts["validation"],
        compute_dollars=of_compute.astype(np.float64),
        dollars=np.sum(counted, axis=0),
        items=pd.Series([_flat(of) for of in items], index=selected.index, dtype=object),
    )


def select_and_price(source: ReportInput, rule: SelectionRule | None) -> pd.DataFrame:
    """Return the result of `price_trials` for a report's trials at the epochs of a rule."""
    chosen = select_trials(source.trials, source.epochs, rule)
    charged = (rule, source.axis, source.mask_of, source.search_rule)
    return price_trials(chosen, source.prices, *charged, source.compute)


def attribute_columns(selected: pd.DataFrame) -> list[str]:
    """Return the columns `SPLIT_robust_auroc_NAME`, sorted."""
    prefixes = tuple(f"{split}_robust_auroc_" for split in EVALUATION_SPLITS)
    return sorted(column for column in selected.columns if column.startswith(prefixes))


def _places(selected: pd.DataFrame, epochs: Epochs) -> Places:
    """Return each trial's place in the histories (N,)."""
    places = selected["trial_id"].map(epochs.histories.places)
    if places.isna().any():
        trial = selected[places.isna()].iloc[0]
        raise ResultError(
            f"trial {trial['trial_id']} is committed but the epochs table has no rows of its "
            f"attempt {trial['attempt']}; pull the sweep's tables again"
        )
    return as_places(places)


def _kept_rows(selected: pd.DataFrame, epochs: Epochs, places: Places) -> Places:
    """Return the row of each trial's kept epoch (N,)."""
    kept = selected["kept_epoch"].to_numpy(np.int64)
    row = epochs.histories.find(places, kept)
    if (row < 0).any():
        trial = selected[row < 0].iloc[0]
        raise ResultError(
            f"trial {trial['trial_id']} kept epoch {trial['kept_epoch']}, which its epochs table "
            f"does not hold; pull the sweep's tables again"
        )
    return row


def _values_at(epochs: Epochs, row: Places) -> dict[str, Floats]:
    """Return `SPLIT_METRIC` and `SPLIT_robust_auroc_NAME` of rows (N,); NaN where -1."""
    prefixes = tuple(f"{split}.robust_auroc." for split in EVALUATION_SPLITS)
    names = [f"{split}.{metric}" for split in EVALUATION_SPLITS for metric in _AT_EPOCH]
    names += [name for name in epochs.histories.names if name.startswith(prefixes)]
    return {
        "_".join(name.split(".", 2)): np.where(row < 0, np.nan, epochs.column(name)[row])
        for name in names
    }


def _reasons(
    selected: pd.DataFrame,
    epochs: Epochs,
    places: Places,
    row: Places,
    robust: Floats,
    rule: SelectionRule | None,
) -> list[str | None]:
    """Say why numbers are undefined; None where they are not."""
    starts, numbers = epochs.histories.starts, epochs.histories.epochs
    reasons: list[str | None] = [None] * len(row)
    for at in np.flatnonzero((row < 0) | np.isnan(robust)):
        if row[at] < 0:
            read = _epochs_read(rule, int(starts[places[at] + 1] - starts[places[at]]))
            used = str(selected["keep_rule"].iloc[at]) if rule is None else str(rule)
            reasons[at] = f"rule '{used}': the metric is NaN or absent in {read}"
        else:
            reasons[at] = (
                f"the robust AUROC on test is NaN at epoch {numbers[row[at]]}: one of the two "
                f"groups it compares has no annotated image"
            )
    return reasons


def _outcomes(epochs: Epochs, places: Places, row: Places) -> list[str | None]:
    """Say what went wrong in training: it diverged by the epoch that counts, or did not move."""
    histories = epochs.histories
    far = np.zeros(len(row), dtype=bool)
    for name in ("val.loss", "train.loss"):
        loss = np.abs(histories.column(name)[row])
        far |= (row >= 0) & histories.is_known(name)[places] & ~(loss <= DIVERGED)
    watched = [n for n in histories.names if n.startswith("val.") or n == "train.loss"]
    still, several = np.ones(len(row), dtype=bool), np.zeros(len(row), dtype=bool)
    for name in watched:
        same, defined = (of[places] for of in histories.spread(name))
        still &= same
        several |= defined > 1
    return [
        "diverged" if has else "did not move" if unmoved else None
        for has, unmoved in zip(far, still & several, strict=True)
    ]


def _epochs_read(rule: SelectionRule | None, count: int) -> str:
    if rule is None or rule.sees_every_epoch:
        return f"{all_of(count, 'epoch')}"
    return "the kept and the last epoch, the only ones with stored predictions"


def _rule_of(trial: Mapping[Any, Any]) -> SelectionRule:
    try:
        return parse_rule(str(trial["keep_rule"]))
    except ConfigError as error:
        raise ResultError(f"trial {trial['trial_id']}: keep_rule {error}") from error


def _flat(items: Mapping[str, Items]) -> tuple[tuple[str, str, float], ...]:
    return tuple((part, name, n) for part, of in items.items() for name, n in of.items() if n)


def _items(
    trial: Mapping[Any, Any],
    rule: SelectionRule | None,
    mask_of: MaskOf,
    search: SelectionRule | None,
) -> dict[str, Items]:
    cell = cell_of(str(trial["config"]))
    options = cell.method.options
    counts = read_counts(trial, options, mask_of)
    keep = _rule_of(trial)
    return trial_items(cell.specificity, charged_counts(options, keep, counts, rule, search))

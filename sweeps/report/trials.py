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
from spurious.scoring.selection import SelectionRule, parse_rule, select_epoch
from sweeps.errors import ResultError
from sweeps.plan.cell import cell_of
from sweeps.report.tables import REPORT_SCHEMA_VERSION, ReportInput
from sweeps.results.counts import read_counts

_AT_EPOCH = [m.name for m in METRICS.values() if m.whole and not m.once and not m.of_images]

DIVERGED = 1e3
"""Loss in nats above which training has diverged: chance is 0.69, and a wrong certainty 16."""


def select_trials(
    trials: pd.DataFrame, epochs: pd.DataFrame, rule: SelectionRule | None
) -> pd.DataFrame:
    """Return each trial's selected epoch and its metrics, recomputed from the epochs table.

    A trial whose rule is undefined (its metric NaN or absent in every epoch) keeps NaN metrics,
    and `undefined` says why.

    Args:
        trials: One row per committed trial, columns of `sweeps.results.schemas.TRIALS`.
        epochs: Columns of `sweeps.results.schemas.EPOCHS`; rows of other attempts are ignored.
        rule: The rule for every trial, or None for each trial's kept epoch.

    Returns:
        The trials' columns with `SPLIT_METRIC` of every metric that has a value per epoch, `rule`,
        `epoch` (nullable), `undefined`, `SPLIT_robust_auroc_NAME` per spurious attribute, and
        `cell` as a `Cell`.
        Sorted by trial id.

    Raises:
        ResultError: epochs are missing, double, or do not hold a trial's kept epoch.
    """
    wide = _by_trial(trials, epochs)
    names = sorted(
        column for column in wide.columns if column.split(".", 1)[1].startswith("robust_auroc.")
    )
    known = set(wide.index.get_level_values("trial_id"))
    rows = []
    for trial in trials.sort_values("trial_id").to_dict("records"):
        if trial["trial_id"] not in known:
            raise ResultError(
                f"trial {trial['trial_id']} is committed but the epochs table has no rows of its "
                f"attempt {trial['attempt']}; pull the sweep's tables again"
            )
        history = wide.loc[trial["trial_id"]].sort_index()
        cell = cell_of(str(trial["config"]))
        rows.append(trial | {"cell": cell} | _selection(trial, history, rule, names))
    selected = pd.DataFrame(rows)
    selected["epoch"] = selected["epoch"].astype("Int64")
    selected["schema_version"] = REPORT_SCHEMA_VERSION
    return selected.reset_index(drop=True)


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
    items = [_items(trial, rule, mask_of, search) for trial in selected.to_dict("records")]
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


def _by_trial(trials: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """Index (trial_id, epoch), columns `SPLIT.METRIC` and `SPLIT.robust_auroc.NAME`."""
    keys = ["trial_id", "attempt"]
    rows = epochs.merge(trials[keys], on=keys)
    one_attribute = rows["attribute"].notna() & (rows["metric"] == "robust_auroc")
    rows = rows[one_attribute | rows["attribute"].isna()]
    name = rows["split"] + "." + rows["metric"]
    rows = rows.assign(name=name.where(rows["attribute"].isna(), name + "." + rows["attribute"]))
    double = rows.duplicated(["trial_id", "epoch", "name"])
    if double.any():
        first = rows[double].iloc[0]
        raise ResultError(
            f"the epochs table has {first['name']} of trial {first['trial_id']} twice at epoch "
            f"{first['epoch']}; pull the sweep's tables again"
        )
    return rows.pivot(index=["trial_id", "epoch"], columns="name", values="value")


def _selection(
    trial: Mapping[Any, Any], history: pd.DataFrame, rule: SelectionRule | None, names: list[str]
) -> dict[str, Any]:
    used = str(trial["keep_rule"]) if rule is None else str(rule)
    epoch = int(trial["kept_epoch"]) if rule is None else select_epoch(rule, _mappings(history))
    if epoch is not None and epoch not in history.index:
        raise ResultError(
            f"trial {trial['trial_id']} kept epoch {epoch}, which its epochs table does not hold; "
            f"pull the sweep's tables again"
        )
    at = {} if epoch is None else history.loc[epoch].to_dict()
    values = {
        f"{split}_{metric}": float(at.get(f"{split}.{metric}", np.nan))
        for split in EVALUATION_SPLITS
        for metric in _AT_EPOCH
    }
    for name in names:
        split, metric, attribute = name.split(".", 2)
        if split in EVALUATION_SPLITS:
            values[f"{split}_{metric}_{attribute}"] = float(at.get(name, np.nan))
    reason = None
    if epoch is None:
        reason = f"rule '{used}': the metric is NaN or absent in {_epochs_read(rule, history)}"
    elif np.isnan(values["test_robust_auroc"]):
        reason = (
            f"the robust AUROC on test is NaN at epoch {epoch}: one of the two groups it compares "
            f"has no annotated image"
        )
    outcome = training_outcome(history, epoch)
    return {"rule": used, "epoch": epoch, "undefined": reason, "training": outcome, **values}


def training_outcome(history: pd.DataFrame, epoch: int | None) -> str | None:
    """Return what went wrong in training: it diverged by the epoch that counts, or did not move.

    Args:
        history: Index epoch, columns `SPLIT.METRIC`.
        epoch: The epoch that counts; None where it is undefined.
    """
    names = [str(name) for name in history.columns]
    curves = history.to_numpy(dtype=np.float64)
    losses = [names.index(name) for name in ("val.loss", "train.loss") if name in names]
    if epoch is not None:
        row = curves[history.index.get_loc(epoch)]
        known = [place for place in losses if not np.isnan(curves[:, place]).all()]
        if any(not abs(row[place]) <= DIVERGED for place in known):
            return "diverged"
    seen = curves[:, [name.startswith("val.") or name == "train.loss" for name in names]]
    defined = ~np.isnan(seen)
    first = np.take_along_axis(seen, defined.argmax(axis=0)[None], axis=0)
    still = bool(((seen == first) | ~defined).all())
    return "did not move" if still and bool((defined.sum(axis=0) > 1).any()) else None


def _epochs_read(rule: SelectionRule | None, history: pd.DataFrame) -> str:
    if rule is None or rule.sees_every_epoch:
        return f"{all_of(len(history), 'epoch')}"
    return "the kept and the last epoch, the only ones with stored predictions"


def _mappings(history: pd.DataFrame) -> list[dict[str, float]]:
    rows = history.to_dict("records")
    named = [{str(name): float(value) for name, value in row.items()} for row in rows]
    return [{"epoch": float(e), **row} for e, row in zip(history.index, named, strict=True)]


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

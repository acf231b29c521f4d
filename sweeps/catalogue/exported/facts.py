"""What an exported model says of itself: where it comes from, and how it did where it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cluster.datasets.manifest import Manifest
from sweeps.plan.plan import Plan, Trial
from sweeps.report.epochs import Epochs, gather
from sweeps.report.gate import CHANCE
from sweeps.report.scored import score_epochs
from sweeps.report.soundness import MEANINGS, find_events
from sweeps.report.trials import select_trials
from sweeps.report.wording import number
from sweeps.results import tables as results
from sweeps.results.reader import ResultReader
from sweeps.spec.model import Spec

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PREPARED = ("format", "image", "mask", "generator")
"""What of a manifest's provenance says how images were made ready. The rest may name images."""


def describe_dataset(manifest: Manifest) -> dict[str, Any]:
    """Return what an exported model says of the dataset that it was trained on."""
    return {
        "name": manifest.name,
        "digest": manifest.digest,
        "synthetic": manifest.synthetic,
        "mask_of": manifest.mask_of,
        "attributes": {each.name: each.direction for each in manifest.attributes},
        "prepared": {key: manifest.provenance[key] for key in PREPARED
                     if key in manifest.provenance},
    }  # fmt: skip


def describe_result(
    spec: Spec, plan: Plan, trial: Trial, reader: ResultReader, directions: Mapping[str, int]
) -> dict[str, Any]:
    """Return what a trial's result says of its kept model: epoch, threshold, metrics, cautions.

    Args:
        spec: The sweep, whose operating point fixes the threshold.
        plan: Its plan.
        trial: One of it, with a result.
        reader: The store's results.
        directions: Per spurious attribute +1 where it goes with the label in training, else -1.
    """
    row = results.read_trials(reader, [trial.id])
    [facts] = row.to_pylist()
    table = results.read_attempts(reader, "epochs", row)
    predictions = results.read_attempts(reader, "predictions", row)
    point = spec.select.operating_point
    scored = score_epochs(predictions, trial.config.segments, directions, point)
    epochs = gather(row.to_pandas(), [table], scored, None)
    here = epochs.rows[epochs.rows["epoch"] == facts["kept_epoch"]]
    return {
        "config": facts["config"],
        "kept": {name: facts[name] for name in ("kept_epoch", "epochs", "keep_rule")},
        "operating_point": {"rule": str(point), "threshold": _threshold(here)},
        "own": _metrics(here),
        "seeds": _seeds(plan, trial, reader),
        "cautions": [*_cautions(row.to_pandas(), epochs), *_other_epoch(spec, row, epochs)],
        "trained_with": {name: facts[name] for name in ("versions", "device", "threads")},
        "predictions_sha256": facts["predictions_sha256"],
    }


def _threshold(here: pd.DataFrame) -> float | None:
    values = here[(here["metric"] == "threshold") & (here["split"] == "test")]["value"]
    return _plain(values.iloc[0]) if len(values) else None


def _plain(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return None if math.isnan(value) else float(value)


def _metrics(here: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the metrics of validation and test, by split, metric and attribute."""
    rows = here[here["split"].isin(["val", "test"])]
    columns = (rows[name].tolist() for name in ("split", "metric", "attribute", "value"))
    return [
        {
            "split": split,
            "metric": metric,
            "attribute": attribute if isinstance(attribute, str) else None,
            "value": _plain(value),
        }
        for split, metric, attribute, value in zip(*columns, strict=True)
    ]


def _seeds(plan: Plan, trial: Trial, reader: ResultReader) -> dict[str, Any]:
    """Return the robust and overall AUROC on test of all seeds of the cell that have a result."""
    ids = [each.id for each in plan.trials if each.cell == trial.cell and each.id in plan.done]
    rows = results.read_trials(reader, ids).to_pylist()
    return {
        str(row["seed"]): {
            metric: _plain(row[f"test_{metric}"]) for metric in ("robust_auroc", "auroc")
        }
        for row in sorted(rows, key=lambda row: int(row["seed"]))
    }


def _cautions(trials: pd.DataFrame, epochs: Epochs) -> list[str]:
    """Return what the report would caution of: training that went wrong, or taught nothing."""
    kinds = set(find_events(trials, epochs)["metric"])
    notes = [f"{meaning}." for kind, meaning in MEANINGS.items() if kind in kinds]
    on_validation = float(trials["val_auroc"].iloc[0])
    if not on_validation > CHANCE:
        known = "undefined" if math.isnan(on_validation) else number(on_validation, 2)
        notes.append(f"its AUROC on its own validation images is {known}, not above chance.")
    return notes


def _other_epoch(spec: Spec, row: pa.Table, epochs: Epochs) -> list[str]:
    """Say so where the report chooses another epoch than the one whose weights were kept."""
    if spec.select_rule is None:
        return []
    chosen = select_trials(row.to_pandas(), epochs, spec.select_rule)["epoch"].iloc[0]
    [kept] = row.column("kept_epoch").to_pylist()
    if chosen == kept:
        return []
    return [
        f"the report shows epoch {chosen}, by the rule '{spec.select_rule}'; these weights are of "
        f"epoch {kept}, which the trial kept: its numbers are not the report's."
    ]

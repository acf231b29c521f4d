"""Tables of results that are kept beside the documents: `docs/measured` is a store of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.stores.folder import FolderStore
from docs.generate.documents import ROOT, code, table
from spurious.scoring.registry import METRICS
from sweeps.report.inference.intervals import FEWEST_SEEDS
from sweeps.report.statistics import summarize, within
from sweeps.results.tables import committed_ids, read_attempts, read_trials

MEASURED = ROOT / "docs" / "measured"
_LEARNED = 0.9
"""Accuracy on test of a model that decides by crosses; the marker alone gives 0."""


def mask_fraction() -> str:
    """Write one row a trial of `crosses-mask-fraction`: accuracy on test, by epoch."""
    rows = []
    for trial, config, accuracy in _trials("actdiff"):
        kept, last = trial["kept_epoch"], trial["epochs"]
        learned = [str(epoch) for epoch in sorted(accuracy) if accuracy[epoch] >= _LEARNED]
        place = _form(config), int(trial["budget"]), trial["seed"]
        first = [*learned, "never"][0]
        rows.append((place, (f"{accuracy[kept]:.3f}", str(kept), f"{accuracy[last]:.3f}", first)))
    return table(
        ("form", "masks", "seed", "accuracy at the kept epoch", "kept epoch", "at the last epoch",
         f"first epoch of {_LEARNED:g}"),
        [(code(place[0]), *map(str, place[1:]), *values) for place, values in sorted(rows)],
    )  # fmt: skip


def mask_fraction_means() -> str:
    """Write one row a number of masks: accuracy on test over seeds, at two epochs."""
    cells: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for trial, config, accuracy in _trials("actdiff"):
        at = accuracy[trial["kept_epoch"]], accuracy[trial["epochs"]]
        cells.setdefault((_form(config), int(trial["budget"])), []).append(at)
    return table(
        ("form", "masks", "seeds", "at the kept epoch", "at the last epoch"),
        [
            (code(form), str(masks), str(len(values)), *map(_over_seeds, zip(*values, strict=True)))
            for (form, masks), values in sorted(cells.items())
            if len(values) >= FEWEST_SEEDS
        ],
    )


def _over_seeds(values: Sequence[float]) -> str:
    """Write mean, SD and the t-interval of the mean, as a report does beside published numbers."""
    summary = within(summarize(values), METRICS["accuracy"])
    return f"{summary.mean:.3f} ± {summary.sd:.3f} ({summary.low:.3f} to {summary.high:.3f})"


def _form(config: Any) -> str:
    method = config["method"]
    return f"norm: {method['norm']}, compared: {method.get('compared', 'before_relu')}"


def _trials(method: str) -> Iterator[tuple[Mapping[str, Any], Any, dict[int, float]]]:
    """Yield rows of trials of a method with their configuration, and accuracy on test by epoch."""
    store = FolderStore(MEASURED)
    trials = read_trials(store, committed_ids(store))
    epochs: dict[str, dict[int, float]] = {}
    for row in read_attempts(store, "epochs", trials).to_pylist():
        if (row["split"], row["metric"]) == ("test", "accuracy"):
            epochs.setdefault(row["trial_id"], {})[row["epoch"]] = row["value"]
    for row in trials.to_pylist():
        config = json.loads(row["config"])
        if config["method"]["name"] == method:
            yield row, config, epochs[row["trial_id"]]

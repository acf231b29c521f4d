"""Readings of stored predictions: each trial's AUROCs on test with their structural components.

A report holds a float32 per trial, stored epoch and test image for the overall AUROC, and one per
contradicting image for the robust AUROC: 16 MB for 1,000 trials of 2,000 test images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from spurious.scoring.groups import mostly_contradicts
from sweeps.report.inference.components import Reading, take_reading
from sweeps.report.scored import PREFIX, read_attributes

if TYPE_CHECKING:
    import pyarrow as pa

READ_METRICS = ("auroc", "robust_auroc")
"""Metrics with readings; the intervals of all others are over seeds alone."""
Readings = Mapping[tuple[str, int], Mapping[str, Reading]]
"""Trial id and epoch to metric to reading; a metric that is undefined is left out."""


def read_epochs(
    table: pa.Table, directions: Mapping[str, int]
) -> dict[tuple[str, int], dict[str, Reading]]:
    """Return the readings of one trial at the kept and the last epoch, on test.

    Args:
        table: The trial's rows of `predictions`.
        directions: Per spurious attribute +1 where it goes with the label in training, else -1.
    """
    import pyarrow.compute as pc

    table = table.filter(pc.equal(table.column("split"), "test"))
    names = [n.removeprefix(PREFIX) for n in table.column_names if n.startswith(PREFIX)]
    signs = [directions.get(name, 0) for name in names]
    columns = {name: table.column(name).to_numpy() for name in ("epoch", "label", "score")}
    texts = {name: np.array(table.column(f"{name}_id").to_pylist()) for name in _IDS}
    attributes = read_attributes(table, names)
    readings: dict[tuple[str, int], dict[str, Reading]] = {}
    for epoch in dict.fromkeys(columns["epoch"].tolist()):
        mine = columns["epoch"] == epoch
        labels, scores = columns["label"][mine], columns["score"][mine]
        samples, patients = (texts[name][mine] for name in _IDS)
        robust = mostly_contradicts(labels, attributes[mine], signs)
        rows = {"auroc": np.ones(len(labels), dtype=bool), "robust_auroc": robust}
        taken = {
            metric: take_reading(labels[of], scores[of], samples[of], patients[of])
            for metric, of in rows.items()
        }
        trial_id = str(table.column("trial_id")[0].as_py())
        readings[trial_id, int(epoch)] = {m: r for m, r in taken.items() if r is not None}
    return readings


_IDS = ("sample", "patient")

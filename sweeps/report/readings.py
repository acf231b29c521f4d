"""Readings of stored predictions: each trial's AUROCs on test with their structural components.

A report holds a float32 per trial, stored epoch and test image for the overall AUROC, and one per
contradicting image for the robust AUROC: 16 MB for 1,000 trials of 2,000 test images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spurious.scoring.groups import mostly_contradicts
from sweeps.report.inference.components import Images, Reading, arrange, take_reading
from sweeps.report.scored import PREFIX, read_attributes

if TYPE_CHECKING:
    import pyarrow as pa

READ_METRICS = ("auroc", "robust_auroc")
"""Metrics with readings; the intervals of all others are over seeds alone."""
Readings = Mapping[tuple[str, int], Mapping[str, Reading]]
"""Trial id and epoch to metric to reading; a metric that is undefined is left out."""


class ReadingTaker:
    """Takes readings of one trial after another, whose images are mostly the same.

    What follows from images alone (their order, patients, who contradicts) is kept from one trial
    to the next.
    """

    def __init__(self, directions: Mapping[str, int]) -> None:
        """Take note of each spurious attribute's direction, +1 with the label or -1 against it."""
        self._directions = directions
        self._known: dict[bytes, dict[str, tuple[NDArray[np.bool_], Images]]] = {}

    def read(self, table: pa.Table) -> dict[tuple[str, int], dict[str, Reading]]:
        """Return the readings of one trial at the kept and the last epoch, on test.

        Args:
            table: The trial's rows of `predictions`.
        """
        import pyarrow.compute as pc

        is_test = pc.equal(table.column("split"), "test").to_numpy()
        epochs, scores = (table.column(name).to_numpy() for name in ("epoch", "score"))
        readings: dict[tuple[str, int], dict[str, Reading]] = {}
        for epoch in dict.fromkeys(epochs[is_test].tolist()):
            mine = is_test & (epochs == epoch)
            first, count = int(mine.argmax()), int(mine.sum())
            whole = mine[first : first + count].all()
            part = table.slice(first, count) if whole else table.filter(mine)
            taken = {
                metric: take_reading(images, scores[mine][of])
                for metric, (of, images) in self._arrange(part).items()
            }
            trial_id = str(table.column("trial_id")[0].as_py())
            readings[trial_id, int(epoch)] = {m: r for m, r in taken.items() if r is not None}
        return readings

    def _arrange(self, part: pa.Table) -> dict[str, tuple[NDArray[np.bool_], Images]]:
        """Return by metric which rows of an epoch it reads, and their images."""
        names = [n for n in part.column_names if n.startswith(PREFIX)]
        columns = [*(f"{name}_id" for name in _IDS), "label", *names]
        key = b"".join(content(part.column(name)) for name in columns)
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            signs = [self._directions.get(name.removeprefix(PREFIX), 0) for name in names]
            labels = part.column("label").to_numpy()
            attributes = read_attributes(part, [name.removeprefix(PREFIX) for name in names])
            texts = [np.array(part.column(f"{name}_id").to_pylist()) for name in _IDS]
            robust = mostly_contradicts(labels, attributes, signs)
            rows = {"auroc": np.ones(len(labels), dtype=bool), "robust_auroc": robust}
            self._known[key] = {
                metric: (of, arrange(labels[of], *(text[of] for text in texts)))
                for metric, of in rows.items()
            }
        return self._known[key]


def content(column: pa.ChunkedArray) -> bytes:
    """Return bytes that two columns of a type share where, and only where, their values do."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    whole = pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)
    batch = pa.record_batch([pa.concat_arrays([whole, whole[:0]])], names=["x"])
    return bytes(batch.serialize())


_IDS = ("sample", "patient")
_MOST_KNOWN = 64
"""Sets of images that are kept; all trials of a sweep have one or two."""

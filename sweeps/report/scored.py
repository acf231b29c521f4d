"""Metrics of stored predictions: a trial's `predictions` as rows of the `epochs` table.

A metric that is added today has values for trials that finished yesterday, at the two epochs whose
predictions are stored. Predictions are reduced trial by trial; a report holds none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spurious.data.attributes import UNKNOWN, GroupCounts
from spurious.data.splits import EVALUATION_SPLITS
from spurious.scoring.events import CONSTANT_SCORES
from spurious.scoring.metric import Predictions, Value
from spurious.scoring.operating_point import OperatingPoint
from spurious.scoring.registry import compute_metrics
from sweeps.results.schemas import PROBABILITY_PREFIX, SCHEMA_VERSION, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "spurious_"
Row = tuple[str, str, int, str, str, Value]
"""Trial id, attempt, epoch, split, metric and value."""


def score_epochs(
    table: pa.Table, segments: bool, directions: Mapping[str, int], point: OperatingPoint
) -> pa.Table:
    """Return every metric of one trial's predictions, as `score_rows`, as rows of `epochs`."""
    return as_epochs(score_rows(table, segments, directions, point))


def score_rows(
    table: pa.Table, segments: bool, directions: Mapping[str, int], point: OperatingPoint
) -> list[Row]:
    """Return every metric of one trial's predictions at the kept and the last epoch.

    Args:
        table: The trial's rows of `predictions`, in the order in which they were written.
        segments: Whether its model is a segmenter.
        directions: Per spurious attribute +1 where it goes with the label in training, else -1.
        point: How the threshold is fixed on validation.

    Returns:
        Values for the splits val and test, and `constant_scores` where all images have one. Where
        predictions are the same at both epochs, which a kept last epoch is, they are stored once
        and so are these values.
    """
    import pyarrow.compute as pc

    names = [n.removeprefix(PREFIX) for n in table.column_names if n.startswith(PREFIX)]
    columns = {name: table.column(name).to_numpy() for name in ("epoch", "label", "score")}
    of = {split: pc.equal(table.column("split"), split).to_numpy() for split in EVALUATION_SPLITS}
    attributes, classes = read_attributes(table, names), read_classes(table)
    trial = [str(table.column(name)[0].as_py()) for name in ("trial_id", "attempt")]
    rows: list[Row] = []
    for epoch in dict.fromkeys(columns["epoch"].tolist()):
        threshold = float("nan")
        if np.ptp(columns["score"][columns["epoch"] == epoch]) == 0:
            rows.append((trial[0], trial[1], epoch, "test", CONSTANT_SCORES, Value(1.0)))
        for split in EVALUATION_SPLITS:  # validation first: it fixes the threshold
            mine = (columns["epoch"] == epoch) & of[split]
            labels, scores = columns["label"][mine], columns["score"][mine]
            if split == "val":
                threshold = point.threshold(labels, scores)
            signs = [directions.get(name, 0) for name in names]
            predictions = Predictions(
                *(labels, scores, attributes[mine], names, signs, threshold),
                probabilities=None if classes is None else classes[0][mine],
                class_numbers=None if classes is None else classes[1][mine],
            )
            rows += [
                (trial[0], trial[1], epoch, split, name, value)
                for name, value in compute_metrics(predictions, segments)
            ]
    return rows


def as_epochs(rows: Sequence[Row]) -> pa.Table:
    """Return values as rows of `epochs`."""
    import pyarrow as pa

    schema, count = arrow_schema("epochs"), len(rows)
    trials, attempts, epochs, splits, names, values = zip(*rows, strict=True) if rows else [()] * 6
    columns: dict[str, Any] = {
        "schema_version": [SCHEMA_VERSION] * count,
        **{"trial_id": trials, "attempt": attempts},
        **{"epoch": epochs, "split": splits, "metric": names},
        "attribute": [value.attribute for value in values],
        "value": [value.value for value in values],
    }
    nobody = GroupCounts(0, 0, 0, 0, 0, 0)
    sizes = [nobody if value.cells is None else value.cells for value in values]
    for group in ("y0_s0", "y0_s1", "y1_s0", "y1_s1"):
        columns[f"n_{group}"] = [getattr(size, group) for size in sizes]
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def read_attributes(table: pa.Table, names: Sequence[str]) -> NDArray[np.int8]:
    """(N, A) in {0, 1, UNKNOWN}; null is UNKNOWN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [
        pc.fill_null(table.column(PREFIX + name).cast(pa.int8()), UNKNOWN).to_numpy()
        for name in names
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0), dtype=np.int8)


def read_classes(table: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
    """Return probabilities (N, K) and numbers of the true classes (N,); None of labels alone."""
    columns = [name for name in table.column_names if name.startswith(PROBABILITY_PREFIX)]
    if not columns:
        return None
    names = [name.removeprefix(PROBABILITY_PREFIX) for name in columns]
    numbers = [names.index(name) for name in table.column("class").to_pylist()]
    probabilities = np.stack([table.column(name).to_numpy() for name in columns], axis=1)
    return probabilities, np.array(numbers, np.int64)

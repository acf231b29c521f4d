"""The tables of an evaluation, column by column: what a row is, types, units and meanings."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.results.described import described_schema
from sweeps.results.schemas import NAME, PROBABILITY_PREFIX, Column, TableDescription

if TYPE_CHECKING:
    pass

EVALUATION_VERSION = 1
"""Counts up with any change of a name, type or unit here."""

_MODEL = (
    Column("sweep", "string", "", "name of the sweep that trained the model"),
    Column("trial_id", "string", "", "id of the trial whose kept model was scored"),
    Column("dataset", "string", "", "name of the dataset that was scored"),
    Column("dataset_digest", "string", "", "digest of that dataset"),
    Column("split", "string", "", "split of that dataset: train, val or test"),
)
EVALUATION_PREDICTIONS = (
    *_MODEL,
    Column("sample_id", "string", "", "image id"),
    Column("patient_id", "string", "", "patient id"),
    Column("label", "int64", "", "1 with the abnormality, else 0"),
    Column("score", "float64", "", "image score, higher is more abnormal"),
    Column(
        "called",
        "bool",
        "",
        "whether the score reaches the threshold that the model brought; null without one",
    ),
)
EVALUATION_METRICS = (
    *_MODEL,
    Column("metric", "string", "", "name of the metric, as in the tables of a sweep"),
    Column("attribute", "string", "", "spurious attribute of the metric; null for none, or all"),
    Column("value", "float64", "the metric's", "the metric; null where undefined"),
    Column("low", "float64", "the metric's", "lower 95 % limit for new patients; null without one"),
    Column("high", "float64", "the metric's", "upper 95 % limit, likewise"),
    Column(
        "no_interval",
        "string",
        "",
        "why an AUROC has no interval; null where it has one, and for other metrics",
    ),
    Column("unit", "string", "", "unit of the value"),
    Column("better", "string", "", "higher, lower or neither"),
    Column("n_y0_s0", "int64", "images", "of label 0 without the metric's attribute; null for all"),
    Column("n_y0_s1", "int64", "images", "of label 0 with the metric's attribute"),
    Column("n_y1_s0", "int64", "images", "of label 1 without the metric's attribute"),
    Column("n_y1_s1", "int64", "images", "of label 1 with the metric's attribute"),
)
_OF_IMAGES = (
    Column("spurious_NAME", "bool", "", "whether NAME is in the image; null if unknown"),
    Column("class", "string", "", "true class of the image, of a model of three classes or more"),
    Column(PROBABILITY_PREFIX + NAME, "float64", "probability", "the model's of class NAME"),
)
EVALUATION_TABLES: Mapping[str, TableDescription] = {
    "evaluation_predictions": TableDescription(
        "an image that was scored", EVALUATION_PREDICTIONS, _OF_IMAGES
    ),
    "evaluation_metrics": TableDescription("a metric of a split", EVALUATION_METRICS),
}
"""Every table that `sweeps evaluate` writes, by the name of its file."""


def encode_table(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    attributes: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> bytes:
    """Return rows as a Parquet file whose metadata describe every column.

    Args:
        name: A key of `EVALUATION_TABLES`.
        rows: NaN becomes null.
        attributes: Names of spurious attributes, of predictions.
        classes: Names of classes that predictions have probabilities of.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = EVALUATION_TABLES[name]
    names = [f"spurious_{each}" for each in attributes]
    if classes:
        names += ["class", *(PROBABILITY_PREFIX + each for each in classes)]
    schema = described_schema(name, about, names, EVALUATION_VERSION)
    plain = [{key: None if value != value else value for key, value in each.items()}
             for each in rows]  # fmt: skip
    table = pa.Table.from_pylist(plain, schema=schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()

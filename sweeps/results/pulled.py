"""The tables that `sweeps pull` writes, column by column: stored tables that stand alone.

The sweep's name is in each, an undefined number is null instead of NaN, a budget is an integer, a
trial has its price, and every column has a unit and a description. What is stored does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spurious.scoring.registry import METRICS
from sweeps.results.schemas import (
    DOLLARS,
    EMBEDDINGS,
    EPOCHS,
    EXAMPLES,
    EXPLANATIONS,
    FAILURES,
    NAME,
    PREDICTIONS,
    PROBABILITY_PREFIX,
    TRIALS,
    Column,
    TableDescription,
    parse_columns,
)

PULLED_VERSION = 1
"""Counts up with any change of a name, type or unit here."""

_SWEEP = Column("sweep", "string", "", "name of the sweep")
_BUDGET = parse_columns("""
    budget | int64 | images | annotated training images asked for; null for all of them
    budget_is_all | bool | | whether the budget is all training images
""")
_WRITTEN = Column("written_at", "timestamp", "UTC", "when the result was written to this store")
_OF_TRIALS = "id of the trial, as in `trials`"
_UNITS = {
    **dict.fromkeys(("epoch", "kept_epoch", "resumed_from_epoch"), "epoch"),
    **dict.fromkeys(("activation_precision", "share", "pointing", "chance"), "share"),
    "attributes": "attributes",
    "channels": "channels",
    "cpus": "cores",
    "epochs": "epochs",
    "gpus": "GPUs",
    "threads": "threads",
    "value": "the metric's",
}
"""Units of columns that the stored schema has none for; `epoch` is a number from 1."""


def stand_alone(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of a stored table as `pull` writes them."""
    pulled = [_SWEEP]
    for column in columns:
        if column.name == "budget":
            pulled += _BUDGET
        elif column.name != "schema_version":  # in the file's metadata
            unit = column.unit or _UNITS.get(column.name) or _metric_unit(column.name)
            pulled.append(replace(column, unit=unit, meaning=column.meaning.replace("NaN", "null")))
    return tuple(pulled)


def _metric_unit(name: str) -> str:
    """Return the unit of a column `SPLIT_METRIC`, and of others none."""
    metric = METRICS.get(name.partition("_")[2])
    return "" if metric is None else metric.unit


def _attempt(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of a table whose rows are of a trial in `trials`."""
    return tuple(
        replace(column, meaning=_OF_TRIALS) if column.name == "trial_id" else column
        for column in stand_alone(columns)
    )


def _trials() -> tuple[Column, ...]:
    columns = stand_alone(TRIALS)
    place = [column.name for column in columns].index("seconds_total")
    dollars = parse_columns(DOLLARS.replace("NaN", "null"))
    return (*columns[:place], *dollars, *columns[place:], _WRITTEN)


def _units_of_metrics() -> str:
    """Return which metrics of `epochs` have which unit, in words."""
    units: dict[str, list[str]] = {}
    for metric in METRICS.values():
        if metric.per_epoch or metric.once:
            units.setdefault(metric.unit, []).append(metric.name)
    return "; ".join(f"{', '.join(names)} in {unit}" for unit, names in units.items())


def _epochs() -> tuple[Column, ...]:
    meaning = f"the metric, null where it is undefined: {_units_of_metrics()}"
    return tuple(
        replace(column, meaning=meaning) if column.name == "value" else column
        for column in _attempt(EPOCHS)
    )


_ATTRIBUTES = Column(
    "spurious_NAME", "bool", "", "whether spurious attribute NAME is in the image; null if unknown"
)
_OF_IMAGES = (
    _ATTRIBUTES,
    Column("class", "string", "", "true class of the image, of datasets of three classes or more"),
    Column(
        PROBABILITY_PREFIX + NAME,
        "float64",
        "probability",
        "the model's probability of class NAME; null for a segmenter",
    ),
    Column("covariate_NAME", "float64", "", "covariate NAME of the image; text where not a number"),
)

PULLED = {
    "trials": TableDescription("a finished trial", _trials()),
    "epochs": TableDescription("a metric of a trial after an epoch", _epochs()),
    "failures": TableDescription("an attempt that failed", stand_alone(FAILURES)),
    "predictions": TableDescription(
        "an image that a trial scored at its kept or last epoch", _attempt(PREDICTIONS), _OF_IMAGES
    ),
    "embeddings": TableDescription(
        "a test image's embedding by a trial's kept model",
        _attempt(EMBEDDINGS),
        (_ATTRIBUTES,),
        "with `embeddings: true`",
    ),
    "explanations": TableDescription(
        "a map that explains a test image, and a region with a pixel on it",
        _attempt(EXPLANATIONS),
        (_ATTRIBUTES,),
        "with `explanations: true`",
    ),
    "examples": TableDescription(
        "a small picture that a trial kept of an image, or a mean of maps",
        _attempt(EXAMPLES),
        (_ATTRIBUTES,),
        "with `examples: N`",
    ),
}
"""What `pull` writes of the stored tables; `sweeps.commands.sweep_tables.TABLES` has all that it
writes."""

"""The result tables, column by column: name, type, unit, meaning. A golden test holds them.

`SCHEMA_VERSION` counts up with any change; readers migrate older tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from spurious.scoring.registry import METRICS
from sweeps.errors import ResultError

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 6

ColumnType = Literal[
    "string", "int64", "float64", "bool", "timestamp", "list<float32>", "list<uint8>"
]


@dataclass(frozen=True)
class Column:
    """One column of a result table; `unit` is empty for names, counts and ratios."""

    name: str
    type: ColumnType
    unit: str
    meaning: str


NAME = "NAME"
"""Stands in names and meanings of columns for a name that a dataset gives."""


@dataclass(frozen=True)
class TableDescription:
    """What is in a table that users get.

    Attributes:
        row: What a row is.
        columns: In the order of the file.
        families: Columns that follow, one for each NAME of a dataset.
        only: Which sweeps have the table; empty where all have.
    """

    row: str
    columns: tuple[Column, ...]
    families: tuple[Column, ...] = ()
    only: str = ""

    def describe(self, name: str) -> Column:
        """Return what a column is; one of a family with its own name.

        Raises:
            ResultError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        for family in self.families:
            prefix = family.name.removesuffix(NAME)
            if name == prefix or (prefix != family.name and name.startswith(prefix)):
                meaning = family.meaning.replace(NAME, name.removeprefix(prefix))
                return replace(family, name=name, meaning=meaning)
        raise ResultError(f"the column '{name}' has no description: add it to its table's entry")


def parse_columns(text: str) -> tuple[Column, ...]:
    """Parse lines of `name | type | unit | meaning`."""
    rows = (line.split("|") for line in text.strip().splitlines())
    return tuple(Column(*(cell.strip() for cell in row)) for row in rows)  # type: ignore[arg-type]


def metric_columns(epoch: str) -> str:
    """Return the columns `SPLIT_METRIC` of the metrics that tables of trials have, one a line."""
    return "\n".join(
        f"{split}_{metric.name} | float64 | | {metric.words} on {words} at {epoch}"
        + (f"; NaN unless a {metric.head}" if metric.head else "")
        for split, words in (("val", "validation"), ("test", "test"))
        for metric in METRICS.values()
        if metric.in_trials
    )


DOLLARS = """
    training_dollars | float64 | USD | annotation of images trained on, and ranked explanations
    spurious_label_dollars | float64 | USD | spurious labels that method, rule or search read
    validation_dollars | float64 | USD | annotation of validation images; 0 if trained on
    compute_dollars | float64 | USD | compute of the trial; NaN where the spec has no price
    dollars | float64 | USD | the frontier's axis: the sum of the parts that it counts
""".strip()
"""The columns of a trial's price, one a line, which stored tables have not."""

TRIALS = parse_columns(f"""
    schema_version | int64 | | version of this schema
    trial_id | string | | first 16 hex digits of SHA-256 over the canonical trial configuration
    attempt | string | | id of the attempt that committed; names its objects of the other tables
    dataset | string | | dataset name
    dataset_digest | string | | digest of the dataset's content, or of a generator's options
    specificity | string | | label, box, box=image, mask or r=N
    budget | string | | annotated training images asked for, or all
    balance | string | | equal or natural
    method | string | | training method
    model | string | | model name
    seed | int64 | | seed that every random choice of the trial derives from
    science_version | int64 | | raised when the same options give other numbers
    config | string | | canonical JSON of the fully resolved configuration (what trial_id hashes)
    keep_rule | string | | rule of the kept checkpoint
    kept_epoch | int64 | | epoch of the kept checkpoint, from 1
    epochs | int64 | | epochs trained
    train_images | int64 | images | annotated training images
    train_positives | int64 | images | training images with something to draw (see `negatives`)
    train_abnormalities | int64 | abnormalities | on annotated training images; outlines of a region
    train_spurious_labels | int64 | labels | spurious labels of training images the method needs
    train_rest_labels | int64 | labels | image labels of the rest of the training split
    val_spurious_labels | int64 | labels | spurious labels of validation images the method needs
    val_images | int64 | images | validation images
    val_positives | int64 | images | validation images with something to draw (see `negatives`)
    val_abnormalities | int64 | abnormalities | on validation images; outlines of a region
    attributes | int64 | | number of spurious attributes of the dataset
    train_ranked_pairs | int64 | pairs | a good and a bad explanation that somebody named
    train_explanations | int64 | explanations | explanations shown to somebody who named pairs
    {metric_columns("the kept epoch")}
    seconds_total | float64 | s | wall time of the attempt, resumed parts included
    seconds_training | float64 | s | wall time in training steps
    images_per_second | float64 | images/s | training images over seconds_training
    resumed_from_epoch | int64 | | epoch this attempt continued from, 0 when it began afresh
    started_at | timestamp | UTC | start of the attempt
    finished_at | timestamp | UTC | commit of the attempt
    node | string | | host name
    device | string | | cpu or the GPU's name
    threads | int64 | | torch threads
    cpus | float64 | | CPU cores that the attempt had of its node; null before version 6
    gpus | float64 | | GPUs that the attempt had, or its share of one; null before version 6
    versions | string | | JSON: versions of this project, Python, torch, CUDA and numpy
    epochs_sha256 | string | | SHA-256 of the attempt's object of epochs; null before version 3
    predictions_sha256 | string | | SHA-256 of its object of predictions; null before version 3
    embeddings_sha256 | string | | SHA-256 of its object of embeddings; null where there is none
    explanations_sha256 | string | | SHA-256 of its object of explanations; null where there is none
    examples_sha256 | string | | SHA-256 of its object of examples; null where there is none
""")
OPTIONAL = ("embeddings", "explanations", "examples")
"""Tables of an attempt that it writes where its sweep asks for them."""
SISTERS = ("epochs", "predictions", *OPTIONAL)
"""Tables of an attempt whose objects the row of `trials` names by SHA-256."""

_STORED = ", ".join(m.name for m in METRICS.values() if m.per_epoch or m.once)

EPOCHS = parse_columns(f"""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial
    attempt | string | | the attempt
    epoch | int64 | | epoch, from 1
    split | string | | train, val or test
    metric | string | | {_STORED}, or a number that a method measured
    attribute | string | | spurious attribute of the metric; null for none, or all together
    value | float64 | | the metric; NaN where undefined
    n_y0_s0 | int64 | images | of label 0 without the metric's attribute; null without an attribute
    n_y0_s1 | int64 | images | of label 0 with the metric's attribute
    n_y1_s0 | int64 | images | of label 1 without the metric's attribute
    n_y1_s1 | int64 | images | of label 1 with the metric's attribute
""")

PREDICTIONS = parse_columns("""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial
    attempt | string | | the attempt
    epoch | int64 | | epoch, from 1
    kept | bool | | whether this is the kept epoch
    last | bool | | whether this is the last epoch
    sample_id | string | | image id
    patient_id | string | | patient id
    split | string | | split of the image: val or test
    label | int64 | | 1 with the abnormality, else 0
    score | float64 | | image score, higher is more abnormal
""")
"""Followed by one nullable bool column `spurious_NAME` per spurious attribute of the dataset and,
of a classifier of classes, by a string column `class`, the true one, and a float64 column
`probability_NAME` per class, in the order of their numbers."""
PROBABILITY_PREFIX = "probability_"

EMBEDDINGS = parse_columns("""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial
    attempt | string | | the attempt
    sample_id | string | | image id
    patient_id | string | | patient id
    split | string | | split of the image: test
    label | int64 | | 1 with the abnormality, else 0
    embedding | list<float32> | | the image's embedding by the kept model
""")
"""Of trials whose sweep asked for them. Followed by columns `spurious_NAME`, as predictions are."""

EXPLANATIONS = parse_columns("""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial
    attempt | string | | the attempt
    sample_id | string | | image id
    patient_id | string | | patient id
    split | string | | split of the image: test
    label | int64 | | 1 with the abnormality, else 0
    explanation | string | | saliency, grad-cam or prediction, of the kept model
    region | string | | mask, box, or the spurious attribute whose pixels these are
    activation_precision | float64 | | share of the map's strongest 5 % of pixels, with ties
    share | float64 | | share of the map's sum; NaN for a map of zeros
    pointing | float64 | | 1 where the map's maximum is in the region, else 0; of ties the share
    chance | float64 | | the region's share of the image: of a map without preference
""")
"""Of trials whose sweep asked for them: a row per test image, map and region with a pixel on it.
Measures are of what lies in the region. Followed by columns `spurious_NAME`."""

EXAMPLES = parse_columns("""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial
    attempt | string | | the attempt
    sample_id | string | | image id; null of a mean over all test images of the label
    label | int64 | | 1 with the abnormality, else 0
    picture | string | | image, mask, or the map: saliency, grad-cam or prediction
    height | int64 | pixels | height of the picture, 96 at most
    width | int64 | pixels | width of the picture, 96 at most
    channels | int64 | | channels of a pixel, 1 or 3
    highest | float64 | | value of a pixel of 255; of a mean, of maps divided by their sum
    pixels | list<uint8> | | the picture row by row, the channels of a pixel together
""")
"""Of trials whose sweep asked for them. Followed by columns `spurious_NAME`, null of means."""

DIVERGED = "numerical"
"""Failure class of trials that another attempt fails, too."""

FAILURES = parse_columns("""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial
    attempt | string | | the attempt
    failure_class | string | | one of sweeps.trial.failures.POLICIES, e.g. timeout
    message | string | | the error's message
    traceback | string | | the full traceback
    log_tail | string | | last log lines of the trial
    node | string | | host name
    failed_at | timestamp | UTC | when the attempt failed
""")

STOPPED = parse_columns("""
    schema_version | int64 | | version of this schema
    trial_id | string | | the trial, of which this is not the result
    attempt | string | | the attempt
    reached | int64 | | epoch after which a search compared trials
    epochs | int64 | | epochs of the whole trial
    epoch | int64 | | epoch, from 1
    metric | string | | metric on validation
    value | float64 | | the metric; NaN where undefined
""")
"""Of trials that a search compares early, or has stopped: all of validation up to that epoch."""

TABLES = {
    "trials": TRIALS,
    "epochs": EPOCHS,
    "predictions": PREDICTIONS,
    "embeddings": EMBEDDINGS,
    "explanations": EXPLANATIONS,
    "examples": EXAMPLES,
    "failures": FAILURES,
    "stopped": STOPPED,
}


def arrow_schema(
    table: str, attributes: Sequence[str] = (), classes: Sequence[str] = ()
) -> pa.Schema:
    """Return the pyarrow schema of a table.

    Args:
        table: Its name.
        attributes: Names of the spurious columns of tables of images.
        classes: Names of the classes that predictions have probabilities of.
    """
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "list<float32>": pa.list_(pa.float32()),
        "list<uint8>": pa.list_(pa.uint8()),
    }
    fields = [pa.field(column.name, types[column.type]) for column in TABLES[table]]
    if table in ("predictions", *OPTIONAL):
        fields += [pa.field(f"spurious_{name}", pa.bool_()) for name in attributes]
    if table == "predictions" and classes:
        fields.append(pa.field("class", pa.string()))
        fields += [pa.field(PROBABILITY_PREFIX + name, pa.float64()) for name in classes]
    return pa.schema(fields)


def migrate(table: pa.Table) -> pa.Table:
    """Return a table of an earlier version as one of this version.

    Version 2 added two counts to `trials`, both 0 for every trial from before. Version 3 added the
    hashes of the other tables' objects, null for every trial from before. Version 4 added tables of
    explanations and examples, with hashes that are null for every trial from before. Version 5
    added two counts of ranked explanations, 0 for every trial from before. Version 6 added what an
    attempt had of its node, null for every trial from before.
    """
    import pyarrow as pa

    if "train_spurious_labels" in table.column_names:
        place = table.column_names.index("train_spurious_labels") + 1
        zeros = pa.array([0] * len(table), pa.int64())
        if "val_spurious_labels" not in table.column_names:
            for name in ("val_spurious_labels", "train_rest_labels"):
                table = table.add_column(place, pa.field(name, pa.int64()), zeros)
        if "train_ranked_pairs" not in table.column_names:
            place = table.column_names.index("attributes") + 1
            for name in ("train_explanations", "train_ranked_pairs"):
                table = table.add_column(place, pa.field(name, pa.int64()), zeros)
        if "cpus" not in table.column_names:
            place, unmeasured = (
                table.column_names.index("versions"),
                pa.nulls(len(table), pa.float64()),
            )
            for name in ("gpus", "cpus"):
                table = table.add_column(place, pa.field(name, pa.float64()), unmeasured)
        for column in (f"{name}_sha256" for name in SISTERS):
            if column not in table.column_names:
                unknown = pa.nulls(len(table), pa.string())
                table = table.append_column(pa.field(column, pa.string()), unknown)
    place = table.column_names.index("schema_version")
    now = pa.array([SCHEMA_VERSION] * len(table), pa.int64())
    return table.set_column(place, pa.field("schema_version", pa.int64()), now)

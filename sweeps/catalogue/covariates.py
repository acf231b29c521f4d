"""Joins the covariates of a dataset's images (sex, age, site) to tables of predictions."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from cluster.datasets.image_table import COVARIATE_PREFIX, read_image_table
from cluster.datasets.manifest import find_manifest
from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store


def read_covariates(store: Store, name: str, digest: str) -> pa.Table | None:
    """Read `sample_id` and a column `covariate_<name>` for each covariate of a dataset.

    Args:
        store: Where the dataset is.
        name: The dataset's name.
        digest: Its digest.

    Returns:
        None where the dataset has no covariates, or was removed.
    """
    try:
        images = read_image_table(store, find_manifest(store, name, digest))
    except (NotFound, Corrupt):
        return None
    names = [] if images is None else images.column_names
    covariates = [column for column in names if column.startswith(COVARIATE_PREFIX)]
    if images is None or not covariates:
        return None
    return images.select(["sample_id", *covariates]).combine_chunks()


def add_covariates(predictions: pa.Table, images: pa.Table | None) -> pa.Table:
    """Add a dataset's covariates to a table of predictions on it.

    Results hold no covariates: they are joined by `sample_id`, so that a column that is staged
    today is there for trials that finished yesterday.

    Args:
        predictions: A table with `sample_id`, all of one dataset.
        images: Its covariates, as `read_covariates` returns them.
    """
    if images is None:
        return predictions
    positions = pc.index_in(
        predictions.column("sample_id").cast(pa.string()),
        value_set=images.column("sample_id").combine_chunks(),
    )
    for column in images.column_names[1:]:
        values = images.column(column).combine_chunks().take(positions)
        predictions = predictions.append_column(column, values)
    return predictions

"""Joins the covariates of a dataset's images (sex, age, site) to tables of predictions."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.datasets.image_table import COVARIATE_PREFIX, read_image_table
from cluster.datasets.manifest import find_manifest
from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store


def add_covariates(predictions: Any, store: Store, name: str, digest: str) -> Any:
    """Add a column `covariate_<name>` for each covariate of the dataset.

    Results hold no covariates: they are joined by `sample_id`, so that a column that is staged
    today is there for trials that finished yesterday.

    Args:
        predictions: A `pyarrow.Table` with `sample_id`, all of one dataset.
        store: Where the dataset is.
        name: The dataset's name.
        digest: Its digest.

    Returns:
        The table as it was where the dataset has no covariates, or was removed.
    """
    try:
        images = read_image_table(store, find_manifest(store, name, digest))
    except (NotFound, Corrupt):
        return predictions
    names = [] if images is None else images.column_names
    covariates = [column for column in names if column.startswith(COVARIATE_PREFIX)]
    if images is None or not covariates:
        return predictions
    positions = pc.index_in(
        predictions.column("sample_id").cast(pa.string()),
        value_set=images.column("sample_id").combine_chunks(),
    )
    for column in covariates:
        values = images.column(column).combine_chunks().take(positions)
        predictions = predictions.append_column(column, values)
    return predictions

"""The images of a staged dataset as columns without pixels, for tables and statistics.

Shape legend: N images, A spurious attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.datasets.image_table import COVARIATE_PREFIX, FEATURE_PREFIX, require_image_table
from cluster.datasets.manifest import Manifest
from cluster.datasets.shards import ATTRIBUTE_PREFIX
from cluster.stores.base import Store
from spurious.data.attributes import UNKNOWN


@dataclass(frozen=True, eq=False)
class ImageColumns:
    """What is known of each image without its pixels, ascending by id.

    Attributes:
        sample_ids: (N,) str.
        patient_ids: (N,) str.
        splits: (N,) str.
        labels: (N,) int64.
        abnormalities: (N,) int64.
        mask_drawn: (N,) bool.
        boxes_drawn: (N,) bool, boxes that were drawn as such.
        attributes: (N, A) int8, 0, 1 or -1 where not annotated.
        numbers: Further numbers by name, (N,) float64 with NaN where unknown: `vertices_2px`,
            `vertices_5px`, `components`, `area`, `<attribute>_in_mask`, `<attribute>_in_boxes`.
        covariates: Name to N values, None where unknown.
    """

    sample_ids: NDArray[np.str_]
    patient_ids: NDArray[np.str_]
    splits: NDArray[np.str_]
    labels: NDArray[np.int64]
    abnormalities: NDArray[np.int64]
    mask_drawn: NDArray[np.bool_]
    boxes_drawn: NDArray[np.bool_]
    attributes: NDArray[np.int8]
    numbers: Mapping[str, NDArray[np.float64]]
    covariates: Mapping[str, list[Any]]


_TEXT = ("sample_id", "patient_id", "split")
_COUNTS = ("label", "abnormalities")
_NOT_NUMBERS = (COVARIATE_PREFIX, ATTRIBUTE_PREFIX, FEATURE_PREFIX)
_FLAGS = ("mask_drawn", "boxes_drawn")


def load_image_columns(store: Store, manifest: Manifest) -> ImageColumns:
    """Read the table of images of a staged dataset.

    Raises:
        NotFound: there is none, since the dataset was staged by an older version, or it is damaged.
    """
    table = require_image_table(store, manifest)
    text = {name: np.array(table.column(name).to_pylist(), np.str_) for name in _TEXT}
    counts = {name: table.column(name).to_numpy().astype(np.int64) for name in _COUNTS}
    flags = {name: table.column(name).to_numpy().astype(bool) for name in _FLAGS}
    attributes = np.empty((table.num_rows, len(manifest.attribute_names)), np.int8)
    for column, name in enumerate(manifest.attribute_names):
        values = table.column(ATTRIBUTE_PREFIX + name).cast("int8").fill_null(UNKNOWN)
        attributes[:, column] = values.to_numpy()
    covariates = {
        name.removeprefix(COVARIATE_PREFIX): table.column(name).to_pylist()
        for name in table.column_names
        if name.startswith(COVARIATE_PREFIX)
    }
    known = {*_TEXT, *_COUNTS, *_FLAGS, "class"}
    numbers = {
        name: table.column(name).to_numpy().astype(np.float64)
        for name in table.column_names
        if name not in known and not name.startswith(_NOT_NUMBERS)
    }
    return ImageColumns(
        text["sample_id"],
        text["patient_id"],
        text["split"],
        counts["label"],
        counts["abnormalities"],
        flags["mask_drawn"],
        flags["boxes_drawn"],
        attributes,
        numbers,
        covariates,
    )

"""The dataset that methods read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_data import SMALL, squares

from spurious.errors import DataError

DATASET = squares()


def test_rows_of_a_split() -> None:
    """Ascending rows of that split and of no other; together they are all rows."""
    rows = {split: DATASET.rows(split) for split in ("train", "val", "test")}
    for split, found in rows.items():
        assert len(found) == getattr(SMALL, f"n_{split}")
        assert (DATASET.splits[found] == split).all()
        assert (np.diff(found) > 0).all()
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(DATASET.labels)))


def test_an_unknown_split_is_refused() -> None:
    """A misspelt split is an error, not an empty one."""
    with pytest.raises(DataError, match="'valid'; expected one of train, val, test"):
        DATASET.rows("valid")


@pytest.mark.parametrize(
    "name",
    ["images", "masks", "attributes", "splits", "sample_ids", "patient_ids", "abnormalities"],
)
def test_arrays_of_other_lengths_are_refused(name: str) -> None:
    """A shifted column would pair images with other images' annotations."""
    with pytest.raises(DataError, match=name):
        replace(DATASET, **{name: getattr(DATASET, name)[:-1]})


def test_attribute_columns_need_names() -> None:
    """A column without a name could not be reported."""
    with pytest.raises(DataError, match="one column per attribute name"):
        replace(DATASET, attribute_names=("block", "ruler"))

"""The table of images: covariates, outlines and overlaps, outside the digest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sample_records import make_records, stage, write

from cluster.datasets.image_table import read_features, read_image_table, write_image_table
from cluster.datasets.keys import image_table_key
from cluster.stores.folder import FolderStore
from spurious.data.records import Outline, Overlap
from spurious.data.runs import decode_runs

RECORDS = [
    replace(
        record,
        covariates={"sex": "F" if i % 2 else None, "age": 40.0 + i, "site": 7 if i else "north"},
        outline=Outline(12 + i, 5, 1, 0.25) if i else None,
        overlaps={"ink": Overlap(0.5, 1.0)} if i == 3 else {},
        features={"ink": record.image[:, :, 0] > 100} if i in (3, 5) else {},
    )
    for i, record in enumerate(make_records())
]


def test_the_table_has_what_the_digest_has_not(folder_store: FolderStore) -> None:
    """Numbers stay numbers where all are; nulls where nobody measured or knew."""
    manifest = stage(folder_store, RECORDS)
    assert manifest.digest == stage(folder_store, make_records()).digest
    rows = [row for shard in write(folder_store, RECORDS) for row in shard.records]
    write_image_table(folder_store, manifest, reversed(rows))
    table = read_image_table(folder_store, manifest)
    assert table is not None
    columns = table.to_pydict()
    assert columns["sample_id"] == [record.sample_id for record in RECORDS]
    assert columns["covariate_sex"] == [record.covariates["sex"] for record in RECORDS]
    assert columns["covariate_age"] == [40.0 + i for i in range(12)]
    assert columns["covariate_site"] == ["north", *["7"] * 11]
    assert columns["vertices_2px"] == [None, *range(13, 24)]
    assert columns["area"][:2] == [None, 0.25]
    assert columns["ink_in_boxes"] == [1.0 if i == 3 else None for i in range(12)]
    assert "tube_in_boxes" not in columns
    known = read_features(table, [RECORDS[at].sample_id for at in (5, 0)])
    assert known.keys() == {"ink"}
    height, width = RECORDS[5].image.shape[:2]
    assert known["ink"][0] is not None
    ink = decode_runs(known["ink"][0], (height, width))
    assert np.array_equal(ink, RECORDS[5].features["ink"])
    assert ink.any()
    assert known["ink"][1] is None
    assert columns["spurious_tube"] == [record.attributes["tube"] for record in RECORDS]
    assert columns["mask_drawn"] == [True] * 12
    assert columns["boxes_drawn"] == [False] * 12


def test_other_covariates_replace_it_and_equal_ones_do_not(folder_store: FolderStore) -> None:
    """Staging again with one more column keeps the digest and takes the column."""
    manifest = stage(folder_store, RECORDS)
    key = image_table_key("phantom", manifest.digest)
    for records in (RECORDS, make_records(), RECORDS):
        rows = [row for shard in write(folder_store, records) for row in shard.records]
        write_image_table(folder_store, manifest, rows)
        table = read_image_table(folder_store, manifest)
        assert table is not None
        assert ("covariate_sex" in table.column_names) == (records is RECORDS)
    before = folder_store.get(key)
    write_image_table(folder_store, manifest, rows)
    assert folder_store.get(key) == before


@pytest.mark.parametrize("at", [4, 60, 200, 900, -60, -8, -1])
def test_a_damaged_table_is_not_read(
    folder_store: FolderStore, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever one bit is flipped; staging again replaces it."""
    manifest = stage(folder_store, RECORDS)
    rows = [row for shard in write(folder_store, RECORDS) for row in shard.records]
    write_image_table(folder_store, manifest, rows)
    key = image_table_key("phantom", manifest.digest)
    whole = folder_store.get(key)
    damaged = bytearray(whole)
    damaged[at] ^= 16
    folder_store.put(key, bytes(damaged))
    table = read_image_table(folder_store, manifest)
    assert table is None
    assert f"{key} cannot be read" in caplog.text
    write_image_table(folder_store, manifest, rows)
    assert folder_store.get(key) == whole


def test_every_flip_is_noticed(folder_store: FolderStore) -> None:
    """A hundred random bits, one at a time: no other value is ever read."""
    manifest = stage(folder_store, RECORDS)
    rows = [row for shard in write(folder_store, RECORDS) for row in shard.records]
    write_image_table(folder_store, manifest, rows)
    key = image_table_key("phantom", manifest.digest)
    whole = folder_store.get(key)
    expected, refused = read_image_table(folder_store, manifest), 0
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 100).tolist():
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        folder_store.put(key, bytes(damaged))
        table = read_image_table(folder_store, manifest)
        assert table is None or table.equals(expected), at
        refused += table is None
    assert refused > 50

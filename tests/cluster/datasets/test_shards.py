"""Shards: round trips, their schema, the content digest, and what is refused."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import tempfile
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_records import make_records, read_back, stage, write

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import find_manifest
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.errors import ClusterError, Corrupt
from cluster.stores.folder import FolderStore

GOLDEN_CONTENT_DIGEST = "9a49f398d5e8b9445c1c9b3f0ea80c9a18429d79381e5bfb5eb65e6da023d445"


@pytest.mark.parametrize("compression", ["none", "lz4"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_round_trip(store, tmp_path, compression, dtype):
    """Every field comes back equal, from both stores, also where H*W is no multiple of 8."""
    records = make_records(12, (5, 7, 3), dtype)
    shards = write(store, records, shard_bytes=400, compression=compression)
    manifest = build_manifest("phantom", shards)
    rows = read_back(store, manifest, tmp_path)
    assert len(shards) > 1
    images = np.concatenate([r.images for r in rows])
    assert images.dtype == dtype
    np.testing.assert_array_equal(images, [r.image for r in records])
    np.testing.assert_array_equal(
        np.concatenate([r.masks[:] for r in rows]), [r.mask for r in records]
    )
    for field in ("label", "abnormalities"):
        plural = "labels" if field == "label" else field
        found = np.concatenate([getattr(r, plural) for r in rows])
        assert found.tolist() == [getattr(r, field) for r in records]
    code = {True: 1, False: 0, None: -1}
    expected = [[code[r.attributes["ink"]], code[r.attributes["tube"]]] for r in records]
    assert np.concatenate([r.attributes for r in rows]).tolist() == expected
    for field in ("sample_id", "patient_id", "split"):
        found = [value for r in rows for value in getattr(r, field + "s")]
        assert found == [getattr(r, field) for r in records]


def test_written_images_are_let_go(folder_store):
    """Nothing holds a pixel after writing, or staging would fill the memory."""
    records = make_records(4)
    pixels = [weakref.ref(record.image) for record in records]
    write_shards(folder_store, "phantom", records, ["ink", "tube"])
    del records
    gc.collect()
    assert [ref() for ref in pixels] == [None] * 4


def test_images_are_views_of_the_parquet_buffer(folder_store, tmp_path):
    """Decoding copies no pixel: the array's memory is the decoded Arrow buffer."""
    manifest = stage(folder_store, make_records())
    owner = read_back(folder_store, manifest, tmp_path)[0].images
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    assert isinstance(owner, pa.Buffer)


def test_shard_schema_is_the_documented_one(folder_store, tmp_path):
    """Column names, types, encodings and metadata of the file are frozen."""
    manifest = stage(folder_store, make_records())
    path = tmp_path / "shard.parquet"
    folder_store.download(shard_key("phantom", manifest.shards[0].sha256), path)
    file = pq.ParquetFile(path)
    assert {f.name: str(f.type) for f in file.schema_arrow} == {
        "sample_id": "string",
        "patient_id": "string",
        "split": "string",
        "label": "int8",
        "abnormalities": "int16",
        "height": "int32",
        "width": "int32",
        "channels": "int32",
        "image": "binary",
        "mask": "binary",
        "spurious_ink": "bool",
        "spurious_tube": "bool",
    }
    nullable = [f.name for f in file.schema_arrow if f.nullable]
    assert nullable == ["spurious_ink", "spurious_tube"]
    assert file.schema_arrow.metadata == {b"shard_format": b"1", b"image_dtype": b"uint8"}
    for number in (8, 9):
        column = file.metadata.row_group(0).column(number)
        assert column.path_in_schema in ("image", "mask")
        assert column.statistics is None
        assert column.dictionary_page_offset is None
        assert column.compression == "UNCOMPRESSED"


def test_shards_and_row_groups_keep_their_sizes(folder_store):
    """Files close once they reach the size asked for; row groups stay near theirs."""
    records = make_records(40, (16, 16, 1))
    shards = write(folder_store, records, shard_bytes=8 * 256, row_group_bytes=2 * 256)
    assert sum(len(s.records) for s in shards) == 40
    assert all(s.size_bytes >= 8 * 256 for s in shards[:-1])
    path = Path(folder_store.url) / shard_key("phantom", shards[0].sha256)
    metadata = pq.ParquetFile(path).metadata
    assert {metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)} == {2}
    assert path.stat().st_size == shards[0].size_bytes


def test_a_shard_that_is_there_is_not_uploaded_again(folder_store):
    """Shards are immutable: staging the same records again leaves the stored file alone."""
    first = write(folder_store, make_records())
    path = Path(folder_store.url) / shard_key("phantom", first[0].sha256)
    inode = path.stat().st_ino
    assert write(folder_store, make_records()) == first
    assert path.stat().st_ino == inode


@settings(max_examples=25, database=None)
@given(
    cuts=st.sets(st.integers(1, 11), max_size=4),
    order=st.permutations(range(12)),
    shard_bytes=st.integers(1, 2000),
    compression=st.sampled_from(["none", "lz4"]),
)
def test_content_digest_depends_on_content_alone(cuts, order, shard_bytes, compression):
    """Any number, order and size of staging tasks and shards gives the pinned digest."""
    records = [make_records()[i] for i in order]
    bounds = [0, *sorted(cuts), len(records)]
    with tempfile.TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))
        shards = []
        for start, stop in itertools.pairwise(bounds):
            shards += write(
                store, records[start:stop], shard_bytes=shard_bytes, compression=compression
            )
    assert build_manifest("phantom", shards).content_digest == GOLDEN_CONTENT_DIGEST


@pytest.mark.parametrize(
    "change",
    [
        {"sample_id": "other"},
        {"patient_id": "other"},
        {"split": "test"},
        {"label": 1},
        {"abnormalities": 7},
        {"attributes": {"ink": None, "tube": True}},
        {"image": np.zeros((5, 7, 3), np.uint8)},
        {"mask": np.zeros((5, 7), bool)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_content_digest_sees_every_field(folder_store, change):
    """One changed field of one record is another content digest."""
    records = make_records()
    records[0] = dataclasses.replace(records[0], **change)
    manifest = build_manifest("phantom", write(folder_store, records))
    assert manifest.content_digest != GOLDEN_CONTENT_DIGEST


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((5, 8, 3), np.uint8), "mask": np.zeros((5, 8), bool)}, "img-0000"),
        ({"image": np.zeros((5, 7, 3), np.uint16)}, "img-0000"),
        ({"sample_id": "img-0000"}, "two records have id"),
        ({"sample_id": "a\0"}, "sample_id"),
        ({"sample_id": ""}, "sample_id"),
        ({"split": "holdout"}, "split is 'holdout'"),
        ({"label": 2}, "label is 2"),
        ({"abnormalities": 40_000}, "abnormalities is 40000"),
        ({"image": np.zeros((5, 7, 3))}, "float64"),
        ({"mask": np.zeros((7, 5), bool)}, "mask is"),
        ({"mask": np.zeros((5, 7), np.uint8)}, "mask is"),
        ({"attributes": {"ink": True}}, "attributes are"),
        ({"attributes": {"ink": True, "tube": float("nan")}}, "'tube' is nan"),
    ],
)
def test_malformed_records_are_refused(folder_store, change, message):
    """A record that does not fit is an error that names it, and the one it differs from."""
    records = make_records()
    records[5] = dataclasses.replace(records[5], **change)
    with pytest.raises(ClusterError, match=message) as caught:
        write(folder_store, records)
    assert repr(records[5].sample_id) in str(caught.value)


@pytest.mark.parametrize("name", ["../etc", "a/b", "", ".", "A", "a b", "-a", "é", "x" * 65, "a\n"])
def test_path_tricks_in_names_are_refused(folder_store, name):
    """Dataset and attribute names are plain names: nothing else reaches a key or a column."""
    record = dataclasses.replace(make_records()[0], attributes={name: True})
    with pytest.raises(ClusterError, match="bad dataset name"):
        write_shards(folder_store, name, [record], [name])
    with pytest.raises(ClusterError, match="bad dataset name"):
        find_manifest(folder_store, name)
    with pytest.raises(ClusterError, match="bad attribute name"):
        write_shards(folder_store, "phantom", [record], [name])
    assert list(folder_store.list("")) == []


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
def test_a_damaged_shard_is_refused(folder_store, tmp_path, damage):
    """One flipped byte or a missing tail is Corrupt, with key, both hashes and the remedy."""
    manifest = stage(folder_store, make_records())
    key = shard_key("phantom", manifest.shards[0].sha256)
    data = bytearray(folder_store.get(key))
    data[len(data) // 2] ^= 1
    folder_store.put(key, bytes(data[:-9] if damage == "truncated" else data))
    with pytest.raises(Corrupt, match=f"{key}.*stage the dataset again") as caught:
        read_back(folder_store, manifest, tmp_path)
    assert str(caught.value).count(manifest.shards[0].sha256) == 2


@pytest.mark.parametrize(
    "change", [{"attributes": ()}, {"dtype": "uint16"}, {"image_shape": (7, 5, 3)}]
)
def test_a_shard_that_does_not_fit_its_manifest_is_refused(folder_store, tmp_path, change):
    """Right bytes of another schema, dtype or image shape are Corrupt."""
    manifest = stage(folder_store, make_records())
    with pytest.raises(Corrupt, match=manifest.shards[0].sha256):
        read_back(folder_store, dataclasses.replace(manifest, **change), tmp_path)

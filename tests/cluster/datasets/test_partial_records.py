"""Records without a mask, or with boxes: what shards, manifest, counts and cache hold of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_records import make_records, read_back, write

from cluster.datasets.commit import commit_manifest
from cluster.datasets.image_counts import read_image_counts, write_image_counts
from cluster.datasets.manifest import Manifest, find_manifest
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.records import encode_record
from cluster.datasets.shards import StagedShard
from cluster.datasets.verify import verify_dataset
from cluster.errors import ClusterError, Corrupt
from cluster.node_cache.open import open_dataset
from cluster.stores.folder import FolderStore
from spurious.data.drawn import BOXES, MASK, fill_boxes
from spurious.data.records import Record

NAMES = ["ink", "tube"]
CORNERS = np.array([[0, 1, 3, 4], [2, 2, 7, 5]], np.int32)


def partial_records() -> list[Record]:
    """In turn with a mask, with two boxes, with both, with neither, and looked at for nothing."""
    records = make_records(40)
    variants: list[dict[str, Any]] = [
        {},
        {"mask": None, "boxes": CORNERS},
        {"boxes": CORNERS[:1]},
        {"mask": None},
        {"mask": np.zeros((5, 7), bool), "boxes": np.zeros((0, 4), np.int32)},
    ]
    return [replace(record, **variants[i % 5]) for i, record in enumerate(records)]


DRAWN = [MASK, BOXES, MASK | BOXES, 0, MASK | BOXES]


def commit(store: FolderStore, records: Sequence[Record]) -> tuple[Manifest, list[StagedShard]]:
    """Stage partial records in shards of a few rows."""
    shards = write(store, records, partial=True, shard_bytes=1000, row_group_bytes=400)
    manifest = build_manifest("phantom", shards, partial=True)
    assert commit_manifest(store, manifest)
    return manifest, shards


def test_what_is_drawn_comes_back(folder_store: FolderStore, tmp_path: Path) -> None:
    """From the shards and from the node cache: bits, filled boxes, and zeros for no mask."""
    records = partial_records()
    manifest, _ = commit(folder_store, records)
    shards = read_back(folder_store, manifest, tmp_path)
    cached = open_dataset(folder_store, manifest, tmp_path / "cache").dataset
    again = open_dataset(folder_store, manifest, tmp_path / "cache")
    assert again.hit
    assert sorted(file.path.stem for file in again.files)[:4] == [
        "abnormalities",
        "attributes",
        "boxes",
        "drawn",
    ]
    for dataset, of in [(cached, records), *((shard, None) for shard in shards)]:
        ids = dataset.sample_ids.tolist()
        of = of or [record for record in records if record.sample_id in ids]
        for i, record in enumerate(of):
            mask = np.zeros((5, 7), bool) if record.mask is None else record.mask
            boxes = np.zeros((0, 4), np.int32) if record.boxes is None else record.boxes
            assert (dataset.masks[i] == mask).all()
            assert (dataset.boxes[i] == fill_boxes(boxes, 5, 7)).all()  # type: ignore[index]
            assert dataset.drawn[i] == DRAWN[records.index(record) % 5]  # type: ignore[index]


def test_the_manifest_counts_what_is_drawn(folder_store: FolderStore) -> None:
    """Per split and label; it survives JSON, is of a version of its own, and verifies."""
    records = partial_records()
    manifest, shards = commit(folder_store, records)
    read = find_manifest(folder_store, "phantom")
    assert read == manifest
    assert manifest.is_partial
    assert json.loads(manifest.to_json())["schema_version"] == 2
    for split, counts in manifest.splits.items():
        of = [record for record in records if record.split == split]
        masked = [record for record in of if record.mask is not None]
        boxed = [record for record in of if record.mask is not None or record.boxes is not None]
        assert counts.drawn is not None
        assert counts.drawn.masks_y1 == sum(record.label for record in masked)
        assert counts.drawn.masks_y0 == sum(not record.label for record in masked)
        assert counts.drawn.boxes_y0 + counts.drawn.boxes_y1 == len(boxed)
        assert counts.drawn.own_boxes == sum(record.boxes is not None for record in of)
        assert counts.drawn.regions_y1 == sum(r.abnormalities for r in masked if r.label)
    assert not verify_dataset(folder_store, manifest)
    write_image_counts(folder_store, manifest, (row for shard in shards for row in shard.records))
    images = read_image_counts(folder_store, manifest)
    assert images is not None
    drawn = [DRAWN[i % 5] for i, record in enumerate(records) if record.split == "train"]
    assert list(images["train"].drawn or ()) == drawn


def test_a_manifest_of_one_version_with_counts_of_the_other_is_refused(
    folder_store: FolderStore,
) -> None:
    """A program that knows version 1 alone would take undrawn masks for empty ones."""
    manifest, _ = commit(folder_store, partial_records())
    with pytest.raises(Corrupt, match="schema version 1 and counts of masks"):
        Manifest.from_json(replace(manifest, schema_version=1).to_json())


def test_digests_where_every_mask_is_drawn_stay(folder_store: FolderStore) -> None:
    """Whether or not the source could have left some out; anything else gives others."""
    records = make_records(4)
    whole = [encode_record(record, NAMES).row for record in records]
    assert whole == [encode_record(record, NAMES, partial=True).row for record in records]
    directions = {"ink": 1, "tube": 1}
    plain, could = (
        build_manifest(
            "phantom",
            write(folder_store, records, partial=partial),
            declared_directions=directions,
            partial=partial,
        )
        for partial in (False, True)
    )
    assert plain.digest == could.digest
    assert "drawn" not in json.loads(plain.to_json())["splits"]["train"]

    first = replace(records[0], mask=np.zeros((5, 7), bool))
    variants = [
        first,
        replace(first, mask=None),
        replace(first, boxes=np.zeros((0, 4), np.int32)),
        replace(first, boxes=CORNERS),
        replace(first, boxes=CORNERS[:1]),
        replace(first, mask=None, boxes=CORNERS),
    ]
    digests = [encode_record(record, NAMES, partial=True).row.digest for record in variants]
    assert len(set(digests)) == len(variants)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boxes": np.array([[0, 0, 8, 2]], np.int32)}, "outside the image of 5 x 7"),
        ({"boxes": np.array([[3, 0, 3, 2]], np.int32)}, "a box is empty"),
        ({"boxes": np.array([[-1, 0, 3, 2]], np.int32)}, "outside"),
        ({"boxes": np.zeros((1, 4))}, r"boxes are \(1, 4\) float64"),
        ({"boxes": np.zeros((4,), np.int32)}, r"boxes are \(4,\) int32"),
    ],
)
def test_bad_boxes_name_the_record(changes: dict[str, Any], words: str) -> None:
    """Each with what was expected."""
    with pytest.raises(ClusterError, match=f"img-0000.*{words}"):
        encode_record(replace(make_records(1)[0], **changes), NAMES, partial=True)


@pytest.mark.parametrize("changes", [{"mask": None}, {"boxes": CORNERS}])
def test_a_source_says_beforehand_that_masks_may_be_missing(changes: dict[str, Any]) -> None:
    """Its shards have columns of their own, which a worker cannot add half-way."""
    with pytest.raises(ClusterError, match=r"img-0000.*not `partial`"):
        encode_record(replace(make_records(1)[0], **changes), NAMES)

"""Records with classes: what shards, manifest, table of images and cache hold of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_records import make_records, read_back, write

from cluster.datasets.commit import commit_manifest
from cluster.datasets.image_table import read_image_table, write_image_table
from cluster.datasets.manifest import Manifest, find_manifest
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.records import encode_record
from cluster.datasets.shards import StagedShard
from cluster.datasets.verify import verify_dataset
from cluster.errors import ClusterError, Corrupt
from cluster.node_cache.open import open_dataset
from cluster.stores.folder import FolderStore
from spurious.data.classes import ImageClass
from spurious.data.records import Record

NAMES = ["ink", "tube"]
CLASSES = (ImageClass("normal", False), ImageClass("Viral P.", True), ImageClass("other", False))


def classed_records(n: int = 48) -> list[Record]:
    """Positive images of class 1, the others of class 0 and 2 in turn."""
    return [
        replace(record, class_number=1 if record.label else (0, 2)[i % 3 == 0])
        for i, record in enumerate(make_records(n))
    ]


def commit(
    store: FolderStore, records: Sequence[Record], *, partial: bool = False
) -> tuple[Manifest, list[StagedShard]]:
    """Stage records with classes in shards of a few rows."""
    of: dict[str, Any] = {"partial": partial, "classes": CLASSES}
    shards = write(store, records, shard_bytes=1000, row_group_bytes=400, **of)
    manifest = build_manifest("phantom", shards, **of)
    assert commit_manifest(store, manifest)
    return manifest, shards


@pytest.mark.parametrize("partial", [False, True])
def test_classes_come_back(folder_store: FolderStore, tmp_path: Path, partial: bool) -> None:
    """From the shards and from the node cache, also where some masks are not drawn."""
    records = classed_records()
    if partial:
        records = [replace(r, mask=None) if i % 5 == 0 else r for i, r in enumerate(records)]
    manifest, _ = commit(folder_store, records, partial=partial)
    assert manifest.is_partial == partial
    shards = read_back(folder_store, manifest, tmp_path)
    cached = open_dataset(folder_store, manifest, tmp_path / "cache").dataset
    again = open_dataset(folder_store, manifest, tmp_path / "cache")
    assert again.hit
    assert "class_numbers" in {file.path.stem for file in again.files}
    numbers = {record.sample_id: record.class_number for record in records}
    for dataset in (cached, again.dataset, *shards):
        assert dataset.classes == CLASSES
        assert dataset.class_numbers is not None
        assert dataset.class_numbers.dtype == "int64"
        assert dataset.class_numbers.tolist() == [numbers[i] for i in dataset.sample_ids.tolist()]


def test_the_manifest_names_and_counts_classes(folder_store: FolderStore) -> None:
    """It survives JSON, is of a version of its own, and verifies; the table has the names."""
    records = classed_records()
    manifest, shards = commit(folder_store, records)
    assert find_manifest(folder_store, "phantom") == manifest
    assert json.loads(manifest.to_json())["schema_version"] == 3
    for split, counts in manifest.splits.items():
        of = [record.class_number for record in records if record.split == split]
        assert counts.classes == tuple(of.count(number) for number in range(3))
        assert counts.positives == of.count(1)
    assert not verify_dataset(folder_store, manifest)
    write_image_table(folder_store, manifest, (row for shard in shards for row in shard.records))
    table = read_image_table(folder_store, manifest)
    assert table is not None
    assert table.column("class").to_pylist() == [
        CLASSES[record.class_number or 0].name for record in records
    ]


def test_digests_without_classes_stay_and_each_part_of_classes_changes_them(
    folder_store: FolderStore,
) -> None:
    """Numbers, names and which are abnormal; the golden digests are in `test_shards`."""
    plain = make_records(48)
    bare = [replace(record, class_number=None) for record in classed_records()]
    assert [encode_record(r, NAMES).row for r in plain] == [
        encode_record(r, NAMES).row for r in bare
    ]
    manifest = build_manifest("phantom", write(folder_store, plain))
    assert not {"classes"} & set(json.loads(manifest.to_json()))
    assert "classes" not in json.loads(manifest.to_json())["splits"]["train"]

    records = classed_records()
    moved = [replace(r, class_number=0) if r.sample_id == "img-0000" else r for r in records]
    named = (replace(CLASSES[0], name="Normal"), *CLASSES[1:])
    digests = {manifest.digest}
    for classes, of in ((CLASSES, records), (CLASSES, moved), (named, records)):
        shards = write(folder_store, of, classes=classes)
        digests.add(build_manifest("phantom", shards, classes=classes).digest)
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class_number": None}, "class number is None; expected 0 to 2"),
        ({"class_number": 3}, "class number is 3; expected 0 to 2"),
        ({"class_number": -1}, "class number is -1; expected 0 to 2"),
        ({"class_number": 1}, "label is 0, and images of class 'Viral P.' have 1"),
    ],
)
def test_a_wrong_class_names_the_record(changes: dict[str, Any], words: str) -> None:
    """With what was expected."""
    with pytest.raises(ClusterError, match=f"img-0000': {words}"):
        encode_record(replace(classed_records(1)[0], **changes), NAMES, classes=CLASSES)


def test_a_class_without_classes_is_refused() -> None:
    """A source says beforehand which there are."""
    with pytest.raises(ClusterError, match="its source names no classes"):
        encode_record(classed_records(1)[0], NAMES)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (CLASSES[:2], r"2 classes \(normal, Viral P.\); expected 3 to 1000"),
        ((*CLASSES[:2], replace(CLASSES[2], name="normal")), "class names repeat: normal, "),
        ((*CLASSES[:2], replace(CLASSES[2], name=" x")), "class name ' x'; expected 1 to 60"),
        (
            (CLASSES[0], replace(CLASSES[1], positive=False), CLASSES[2]),
            "all classes are negative; expected some of label 1",
        ),
        ((*CLASSES, ImageClass("absent", False)), "training has no image of class absent"),
        (
            (CLASSES[1], CLASSES[0], CLASSES[2]),
            "'img-0001': label is 0, and images of class 'Viral P.' have 1",
        ),
    ],
)
def test_classes_that_no_dataset_can_have(
    folder_store: FolderStore, classes: tuple[ImageClass, ...], words: str
) -> None:
    """Refused when the manifest is built, which sees all records."""
    shards = write(folder_store, classed_records(), classes=CLASSES)
    with pytest.raises(ClusterError, match=words):
        build_manifest("phantom", shards, classes=classes)


def test_a_manifest_whose_classes_contradict_its_shards_is_damage(
    folder_store: FolderStore,
) -> None:
    """`sweeps data check` and a second staging see it; other versions or counts are not read."""
    manifest, _ = commit(folder_store, classed_records())
    renamed = (replace(CLASSES[0], name="healthy"), *CLASSES[1:])
    damage = verify_dataset(folder_store, replace(manifest, classes=renamed))
    assert "contradicts its shards in" in str(damage)
    with pytest.raises(Corrupt, match="schema version 1"):
        Manifest.from_json(replace(manifest, schema_version=1).to_json())
    counts = replace(manifest.splits["val"], classes=(0, 0, manifest.splits["val"].n))
    wrong = replace(manifest, splits={**manifest.splits, "val": counts})
    with pytest.raises(Corrupt, match="counts of classes of val contradict its images"):
        Manifest.from_json(wrong.to_json())

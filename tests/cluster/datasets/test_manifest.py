"""Manifests: counts, directions, JSON, committing once, finding."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import subprocess
import sys

import pytest
from sample_records import make_records, read_back, stage, write

from cluster.datasets.commit import commit_manifest
from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, find_manifest, list_datasets
from cluster.datasets.manifest_build import build_manifest
from cluster.errors import ClusterError, Corrupt, NotFound
from cluster.stores.folder import FolderStore
from spurious.data.attributes import GroupCounts

GENERATOR_DIGEST = "ab" * 32


def test_problems_across_shards_are_named_together(folder_store):
    """Repeated ids and patients in two splits are found across tasks, counted and named."""
    records = make_records()
    moved = [
        dataclasses.replace(r, sample_id=f"new-{i}", split="val", patient_id="patient-0")
        for i, r in enumerate(records[:2])
    ]
    tasks = [write(folder_store, part) for part in (records, records[:7], moved)]
    with pytest.raises(ClusterError) as caught:
        build_manifest("phantom", [shard for task in tasks for shard in task])
    message = str(caught.value)
    assert "7 ids ('img-0000', " in message
    assert "'img-0005'" not in message
    assert "1 patient ('patient-0') in more than one split" in message


def test_tasks_of_another_shape_are_refused(folder_store):
    """Two tasks whose images differ in shape are named by a record of each."""
    other = [
        dataclasses.replace(r, sample_id="z" + r.sample_id) for r in make_records(2, (4, 4, 1))
    ]
    shards = write(folder_store, make_records()) + write(folder_store, other)
    with pytest.raises(ClusterError, match=r"'zimg-0000'.*'img-0000'"):
        build_manifest("phantom", shards)


def test_an_empty_dataset_is_refused(folder_store):
    """No record, no manifest."""
    assert write(folder_store, []) == []
    with pytest.raises(ClusterError, match="no record"):
        build_manifest("phantom", [])


def test_manifest_counts(folder_store):
    """Counts per split and cells per attribute equal those counted by hand."""
    train = stage(folder_store, make_records()).splits["train"]
    # Training rows are 0, 1, 4, 5, 8, 9; rows 4 and 5 are positive; tube is unknown at 5 and 8.
    assert (train.n, train.positives, train.abnormalities) == (6, 2, 0 + 1 + 1 + 2 + 2 + 0)
    assert train.negative_abnormalities == 0 + 1 + 2 + 0  # without those of rows 4 and 5
    assert train.cells["tube"] == GroupCounts(
        y0_s0=1, y0_s1=2, y1_s0=1, y1_s1=0, y0_unknown=1, y1_unknown=1
    )
    assert train.cells["ink"] == GroupCounts(
        y0_s0=2, y0_s1=2, y1_s0=1, y1_s1=1, y0_unknown=0, y1_unknown=0
    )


def test_manifest_json_round_trip_and_keys(folder_store):
    """JSON is canonical, comes back equal, and its keys are frozen."""
    shards = write(folder_store, make_records())
    manifest = build_manifest(
        "phantom", shards, provenance={"release": "1"}, generator={"shape": "ring", "n": 3}
    )
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    fields = json.loads(text)
    assert text == json.dumps(fields, sort_keys=True, separators=(",", ":")) + "\n"
    rest = {key: value for key, value in fields.items() if key != "checksum"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    assert fields["checksum"] == hashlib.sha256(canonical.encode()).hexdigest()
    assert sorted(fields) == [
        "attributes",
        "checksum",
        "content_digest",
        "digest",
        "dtype",
        "generator",
        "image_shape",
        "name",
        "provenance",
        "schema_version",
        "shards",
        "splits",
    ]
    assert sorted(fields["attributes"][0]) == ["direction", "name", "source"]
    assert sorted(fields["shards"][0]) == ["rows", "sha256", "size_bytes"]
    assert sorted(fields["splits"]) == ["test", "train", "val"]
    assert sorted(fields["splits"]["val"]) == [
        *("abnormalities", "cells", "n", "negative_abnormalities", "positives")
    ]
    cell_keys = ["y0_s0", "y0_s1", "y0_unknown", "y1_s0", "y1_s1", "y1_unknown"]
    assert sorted(fields["splits"]["val"]["cells"]["ink"]) == cell_keys


def test_a_manifest_from_before_negative_images_had_masks_is_read(folder_store):
    """It says nothing of abnormalities on negative images, and there were none."""
    fields = json.loads(stage(folder_store, make_records()).to_json())
    del fields["checksum"]
    for counts in fields["splits"].values():
        del counts["negative_abnormalities"]
    found = Manifest.from_json(json.dumps(fields))
    assert [counts.negative_abnormalities for counts in found.splits.values()] == [0, 0, 0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("digest",), "../../x"),
        (("name",), "../x"),
        (("shards", 0, "sha256"), "../../secret"),
        (("shards", 0, "rows"), 1_000),
        (("attributes", 0, "direction"), 0),
        (("attributes", 0, "name"), "a/b"),
        (("dtype",), "object"),
        (("image_shape",), [1, 2]),
        (("splits",), {}),
        (("schema_version",), 99),
    ],
)
def test_a_damaged_manifest_is_refused(folder_store, path, value):
    """A manifest with one wrong value is refused, not half believed, also without a checksum."""
    fields = json.loads(stage(folder_store, make_records()).to_json())
    del fields["checksum"]
    target = fields
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(ClusterError):
        Manifest.from_json(json.dumps(fields))


def test_no_flipped_bit_of_a_manifest_is_believed(folder_store):
    """Whatever bit flips, it is refused, or reads as the manifest that was written."""
    manifest = stage(folder_store, make_records())
    data = manifest.to_json().encode()
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with contextlib.suppress(ClusterError):
                assert Manifest.from_json(bytes(flipped)) == manifest, (place, bit)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff", "null"])
def test_text_that_is_no_manifest_is_corrupt(text):
    """Anything but a manifest is Corrupt."""
    with pytest.raises(Corrupt, match="manifest cannot be read"):
        Manifest.from_json(text)


def without_training_annotation(records):
    """Leave `ink` annotated outside training only."""
    return [
        dataclasses.replace(r, attributes={**r.attributes, "ink": None})
        if r.split == "train"
        else r
        for r in records
    ]


def test_direction_is_declared_where_training_has_no_annotation(folder_store):
    """A declared direction is taken for an unmeasurable attribute, and only for such a one."""
    shards = write(folder_store, without_training_annotation(make_records()))
    manifest = build_manifest("phantom", shards, declared_directions={"ink": -1, "tube": 1})
    ink, tube = manifest.attributes
    assert (ink.name, ink.direction, ink.source) == ("ink", -1, "declared")
    assert (tube.name, tube.direction, tube.source) == ("tube", -1, "measured")
    assert manifest.directions == (-1, -1)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({}, "attribute 'ink' has no direction"),
        ({"ink": 0}, "'ink' is 0"),
        ({"ink": 1, "inc": 1}, "'inc', which is not an attribute"),
    ],
)
def test_an_attribute_without_direction_is_refused(folder_store, declared, message):
    """Neither measured nor declared, or declared wrongly, is an error that says so."""
    shards = write(folder_store, without_training_annotation(make_records()))
    with pytest.raises(ClusterError, match=message):
        build_manifest("phantom", shards, declared_directions=declared)


def test_staging_twice_is_a_no_op(store, caplog):
    """The second commit of equal content writes nothing and says so, whatever its shards."""
    caplog.set_level("INFO")
    manifest = stage(store, make_records())
    again = build_manifest("phantom", write(store, make_records(), shard_bytes=10**6))
    assert again.shards != manifest.shards
    assert commit_manifest(store, again) is False
    assert "already staged" in caplog.text
    assert find_manifest(store, "phantom") == manifest


def test_commit_refuses_shards_that_are_not_there(folder_store, tmp_path):
    """A manifest is never committed before its shards."""
    shards = write(FolderStore(tmp_path / "elsewhere"), make_records())
    manifest = build_manifest("phantom", shards)
    with pytest.raises(NotFound, match=shards[0].sha256):
        commit_manifest(folder_store, manifest)
    assert list_datasets(folder_store) == {}


def test_staging_again_mends_a_dataset_that_lost_a_shard(folder_store, tmp_path):
    """With a shard deleted, staging in other pieces replaces the manifest by a readable one."""
    manifest = stage(folder_store, make_records())
    folder_store.delete(shard_key("phantom", manifest.shards[1].sha256))
    again = build_manifest("phantom", write(folder_store, make_records(), shard_bytes=10**6))
    assert commit_manifest(folder_store, again) is True
    rows = read_back(folder_store, find_manifest(folder_store, "phantom"), tmp_path)
    assert sum(len(r.labels) for r in rows) == 12


def test_a_generator_whose_pixels_changed_is_refused(folder_store):
    """One generator digest never names two contents."""
    shards = write(folder_store, make_records(seed=0))
    manifest = build_manifest("phantom", shards, digest=GENERATOR_DIGEST, generator={"n": 12})
    assert commit_manifest(folder_store, manifest) is True
    assert find_manifest(folder_store, "phantom").digest == GENERATOR_DIGEST
    other = build_manifest(
        "phantom", write(folder_store, make_records(seed=1)), digest=GENERATOR_DIGEST
    )
    with pytest.raises(ClusterError, match=r"other content.*raise its version"):
        commit_manifest(folder_store, other)
    assert find_manifest(folder_store, "phantom") == manifest


def test_equal_content_with_another_direction_is_refused(folder_store):
    """A declared direction is in no digest, so a changed one must not pass for the same."""
    shards = write(folder_store, without_training_annotation(make_records()))
    up, down = (build_manifest("phantom", shards, declared_directions={"ink": d}) for d in (1, -1))
    commit_manifest(folder_store, up)
    with pytest.raises(ClusterError, match=r"ink \+1 declared.*ink -1 declared"):
        commit_manifest(folder_store, down)


def test_find_and_list(store):
    """A version is found by name or by digest prefix; misses and ties say what there is."""
    one, two = (stage(store, make_records(seed=seed)) for seed in (0, 1))
    other = stage(store, make_records(), name="squares")
    digests = tuple(sorted([one.digest, two.digest]))
    assert list_datasets(store) == {"phantom": digests, "squares": (other.digest,)}
    assert find_manifest(store, "squares") == other
    assert find_manifest(store, "phantom", two.digest[:10]) == two
    assert find_manifest(store, "phantom", one.digest) == one
    with pytest.raises(ClusterError, match=rf"2 versions.*{digests[0]}, {digests[1]}"):
        find_manifest(store, "phantom")
    with pytest.raises(NotFound, match=f"starts with '0000'.*{digests[0]}"):
        find_manifest(store, "phantom", "0000")
    with pytest.raises(NotFound, match=r"did you mean 'phantom'\? \(staged: phantom, squares\)"):
        find_manifest(store, "phantoms")


def test_a_manifest_under_a_foreign_key_is_corrupt(folder_store):
    """A manifest that was copied to another dataset's key is refused."""
    manifest = stage(folder_store, make_records())
    key = manifest.key.replace("phantom", "squares")
    folder_store.put(key, manifest.to_json().encode())
    with pytest.raises(Corrupt, match="holds the manifest of"):
        find_manifest(folder_store, "squares")


def test_manifest_needs_no_array_library():
    """Planning imports the manifest without numpy, pyarrow or pandas."""
    heavy = "{'numpy', 'pyarrow', 'pandas'}"
    code = f"import sys, cluster.datasets.manifest; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"

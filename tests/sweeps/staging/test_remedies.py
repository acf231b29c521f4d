"""What a message about datasets, weights or staging tells a user to do does what it says."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_records import make_records, stage, write
from tiny_sweeps import FILMS
from tiny_weights import tiny_file

from cluster.datasets.commit import commit_manifest
from cluster.datasets.image_counts import read_image_counts, write_image_counts
from cluster.datasets.keys import image_counts_key, shard_key
from cluster.datasets.manifest import Manifest, find_manifest
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.errors import ClusterError
from cluster.node_cache.open import open_dataset
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.errors import SpuriousError
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom
from sweeps.cli import HANDLERS
from sweeps.commands.context import plan_sweep
from sweeps.commands.parser import build_parser
from sweeps.commands.stage import stage_into
from sweeps.errors import SweepError
from sweeps.spec.model import parse_spec
from sweeps.trial.weights import load_weights, stage_weights, weights_key

Act = Callable[[FolderStore, Path], object]


def open_films(store: Store, folder: Path) -> None:
    """Find dataset `phantom`, open it as a trial does and read its counts as a plan does."""
    manifest = find_manifest(store, "phantom")
    open_dataset(store, manifest, folder / "cache")
    assert read_image_counts(store, manifest) is not None


def stage_films(store: Store, folder: Path) -> None:
    """Stage dataset `phantom`, or stage it again."""
    stage(store, make_records())
    shards = write(store, make_records())
    rows = [row for shard in shards for row in shard.records]
    write_image_counts(store, find_manifest(store, "phantom"), rows)


def edit_manifest(change: Callable[[dict[str, Any]], object]) -> Act:
    """Stage, and change the stored manifest, which then carries no checksum, as older ones."""

    def act(store: FolderStore, folder: Path) -> None:
        stage_films(store, folder)
        key = find_manifest(store, "phantom").key
        fields = json.loads(store.get(key))
        del fields["checksum"]
        change(fields)
        store.put(key, json.dumps(fields).encode())

    return act


def overwrite(part: Callable[[Manifest], str], data: bytes | None) -> Act:
    """Stage, and put other bytes, or none, in the place of an object."""

    def act(store: FolderStore, folder: Path) -> None:
        stage_films(store, folder)
        key = part(find_manifest(store, "phantom"))
        store.delete(key)
        if data is not None:
            store.put(key, data)

    return act


def first_shard(manifest: Manifest) -> str:
    """Key of a dataset's first shard."""
    return shard_key("phantom", manifest.shards[0].sha256)


def delete_and_stage(store: FolderStore, folder: Path) -> None:
    """Delete the manifest and stage again."""
    [key] = (key for key in store.list("datasets/") if key.endswith("manifest.json"))
    store.delete(key)
    stage_films(store, folder)


def write_odd_shard(store: FolderStore, folder: Path) -> None:
    """Name a shard, whose hash is right, with a byte too few in each image."""
    stage_films(store, folder)
    manifest = find_manifest(store, "phantom")
    table = pq.read_table(io.BytesIO(store.get(first_shard(manifest))))
    images = [image[:-1] for image in table.column("image").to_pylist()]
    column = table.schema.get_field_index("image")
    table = table.set_column(column, table.field(column), pa.array(images, pa.binary()))
    pq.write_table(table, folder / "odd.parquet")
    data = (folder / "odd.parquet").read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    store.put(shard_key("phantom", sha256), data)
    entry = replace(manifest.shards[0], sha256=sha256, size_bytes=len(data))
    odd = replace(manifest, shards=(entry, *manifest.shards[1:]))
    store.put(manifest.key, odd.to_json().encode())


def replace_in_manifest(old: bytes, new: bytes) -> Act:
    """Stage, and change bytes of the stored manifest."""

    def act(store: FolderStore, folder: Path) -> None:
        stage_films(store, folder)
        key = find_manifest(store, "phantom").key
        store.put(key, store.get(key).replace(old, new, 1))

    return act


def more_rows(fields: dict[str, Any]) -> None:
    """Count one image more, in a shard and in a split."""
    fields["shards"][0]["rows"] += 1
    fields["splits"]["train"]["n"] += 1


STAGED_AGAIN: dict[str, tuple[Act, str, Act]] = {
    "a manifest that cannot be read": (
        overwrite(lambda manifest: manifest.key, b""),
        "manifest cannot be read.*stage the dataset again",
        stage_films,
    ),
    "a manifest with another count": (
        replace_in_manifest(b'"positives":', b'"positives":1'),
        "manifest cannot be read.*its checksum is .*stage the dataset again",
        stage_films,
    ),
    "a manifest of another dataset": (
        edit_manifest(lambda fields: fields.update(name="squares")),
        "holds the manifest of.*stage the dataset again",
        stage_films,
    ),
    "a manifest of a later version": (
        edit_manifest(lambda fields: fields.update(schema_version=9)),
        "schema version 9.*where it is damaged, delete it and stage the dataset again",
        delete_and_stage,
    ),
    "a damaged shard": (
        overwrite(first_shard, b"other"),
        r"it has 5 bytes.*stage the dataset again",
        stage_films,
    ),
    "a lost shard": (
        overwrite(first_shard, None),
        "is missing from.*stage the dataset again",
        stage_films,
    ),
    "shards of another schema": (
        edit_manifest(lambda fields: fields.update(dtype="uint16")),
        "has schema.*stage the dataset again with this version",
        stage_films,
    ),
    "shards with fewer rows": (
        edit_manifest(more_rows),
        "its manifest says 4: stage the dataset again",
        stage_films,
    ),
    "images of another shape": (
        edit_manifest(lambda fields: fields["image_shape"].reverse()),
        "a height differs from the manifest's 3: stage the dataset again",
        stage_films,
    ),
    "images of another size": (
        write_odd_shard,
        r"image of 104 bytes; expected 105: stage the dataset again",
        stage_films,
    ),
    "damaged counts": (
        overwrite(lambda manifest: image_counts_key("phantom", manifest.digest), b"{}"),
        "cannot be read.*stage the dataset again to replace it",
        stage_films,
    ),
}


@pytest.mark.parametrize(
    ("damage", "message", "remedy"), STAGED_AGAIN.values(), ids=STAGED_AGAIN.keys()
)
def test_staging_again_is_a_remedy(
    folder_store: FolderStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Act,
    message: str,
    remedy: Act,
) -> None:
    """The message, then the remedy that it names, then a dataset that can be opened."""
    damage(folder_store, tmp_path)
    with pytest.raises((ClusterError, AssertionError)) as caught:
        open_films(folder_store, tmp_path)
    # damaged counts stop nothing: a log line tells of them
    assert re.search(message, f"{caught.value}\n{caplog.text}")
    remedy(folder_store, tmp_path)
    open_films(folder_store, tmp_path)


def undirected(direction: int, name: str = "phantom") -> Act:
    """Commit records without training annotation of `ink`, whose direction is declared."""

    def act(store: FolderStore, folder: Path) -> None:
        records = [replace(r, attributes={**r.attributes, "ink": None}) for r in make_records()]
        shards = write_shards(store, name, records, ["tube", "ink"])
        declared = {"ink": direction, "tube": 1} if direction else {}
        commit_manifest(store, build_manifest(name, shards, declared_directions=declared))

    return act


def directed_otherwise_after_deletion(store: FolderStore, folder: Path) -> None:
    """Delete the manifest that the message names and commit with the other direction."""
    store.delete(find_manifest(store, "phantom").key)
    undirected(-1)(store, folder)


def stage_two(store: FolderStore, folder: Path) -> None:
    """Stage two versions of `phantom`."""
    for seed in (0, 1):
        stage(store, make_records(seed=seed))


def find_first(store: FolderStore, folder: Path) -> None:
    """Find a version by a few digits."""
    digests = [key.split("/")[2] for key in store.list("datasets/") if key.endswith("json")]
    assert find_manifest(store, "phantom", digests[0][:8]).digest == digests[0]


def plan_films(store: FolderStore, folder: Path) -> None:
    """Plan a sweep on the dataset `films`."""
    plan_sweep(parse_spec(FILMS), store)


def weights_file(folder: Path) -> str:
    """A file with weights."""
    path = folder / "weights.safetensors"
    path.write_bytes(tiny_file())
    return str(path)


def load(store: FolderStore, folder: Path) -> None:
    """Load the weights of that file as a trial does."""
    load_weights(store)(hashlib.sha256(Path(weights_file(folder)).read_bytes()).hexdigest())


def damage_weights(store: FolderStore, folder: Path) -> None:
    """Stage weights, and zero a part of what is stored; then load them."""
    key = weights_key(stage_weights(store, weights_file(folder)).sha256)
    store.put(key, store.get(key)[:-4] + bytes([1, 2, 3, 4]))
    load(store, folder)


def restage_weights(store: FolderStore, folder: Path) -> None:
    """Stage the file again, and load it."""
    stage_weights(store, weights_file(folder))
    load(store, folder)


def verb(*arguments: str) -> Act:
    """Run `sweeps` with arguments; FILE, DIR and STORE stand for those of the test."""

    def act(store: FolderStore, folder: Path) -> None:
        there = {"FILE": weights_file(folder), "DIR": str(folder / "release"), "STORE": store.url}
        options = build_parser().parse_args([there.get(word, word) for word in arguments])
        assert HANDLERS[options.verb](options) == 0

    return act


def in_turn(*acts: Act) -> Act:
    """Do one after the other."""

    def act(store: FolderStore, folder: Path) -> None:
        for each in acts:
            each(store, folder)

    return act


def release(store: FolderStore, folder: Path) -> None:
    """Write a release of 12 lesions into DIR."""
    phantom = SkinPhantom(n_train=4, n_val=4, n_test=4, width=64, prevalence=0.5)
    write_isic(folder / "release", phantom)


def stage_films_by_name(store: FolderStore, folder: Path) -> None:
    """Stage a dataset `films` that the plan's sweep fits."""
    stage(store, make_records(80, (16, 16, 1)), name="films")


STORE = ("--store", "STORE")
FEW = [part for name in ("train", "val", "test") for part in ("--set", f"n_{name}=4")]
OTHERS: dict[str, tuple[Act, str, Act]] = {
    "another direction, deleted": (
        in_turn(undirected(1), undirected(-1)),
        "or delete datasets/phantom/[0-9a-f]{64}/manifest.json first",
        directed_otherwise_after_deletion,
    ),
    "another direction, another name": (
        in_turn(undirected(1), undirected(-1)),
        "stage it under another name",
        undirected(-1, "films"),
    ),
    "no direction": (
        undirected(0),
        r"declare \+1 \(goes with the label\) or -1",
        undirected(1),
    ),
    "several versions": (
        in_turn(stage_two, open_films),
        "write 'phantom@DIGEST' with enough digits to name one",
        find_first,
    ),
    "not staged": (
        plan_films,
        "stage it first, e.g. sweeps stage siim-acr DIR --name films",
        in_turn(stage_films_by_name, plan_films),
    ),
    "weights that are not there": (
        load,
        "run `sweeps stage weights FILE` first",
        in_turn(verb("stage", "weights", "FILE", *STORE), load),
    ),
    "damaged weights": (damage_weights, "stage the file again", restage_weights),
    "a hub out of reach": (
        verb("stage", "weights", "hub:resnet9000", *STORE),
        "download the file where there is a network and run `sweeps stage weights FILE`",
        in_turn(verb("stage", "weights", "FILE", *STORE), load),
    ),
    "no weights named": (
        verb("stage", "weights", *STORE),
        "the weights are missing: sweeps stage weights FILE",
        verb("stage", "weights", "FILE", *STORE),
    ),
    "a generator with a folder": (
        verb("stage", "gaussian-squares", "DIR", *STORE),
        "is generated and takes no folder; leave .* out",
        verb("stage", "gaussian-squares", *FEW, *STORE),
    ),
    "a reader without a folder": (
        verb("stage", "isic", *STORE),
        "sweeps stage isic DIR",
        in_turn(release, verb("stage", "isic", "DIR", "--set", "image_size=16", *STORE)),
    ),
}


@pytest.mark.parametrize(("fail", "message", "remedy"), OTHERS.values(), ids=OTHERS.keys())
def test_another_remedy(
    folder_store: FolderStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fail: Act,
    message: str,
    remedy: Act,
) -> None:
    """The message, then the remedy that it names, which raises nothing."""
    monkeypatch.setattr("cluster.jobs.session.ray_session", lambda *_, **__: nullcontext())
    monkeypatch.setattr("sweeps.commands.stage.stage_into", partial(stage_into, in_process=True))
    with pytest.raises((ClusterError, SpuriousError, SweepError), match=message):
        fail(folder_store, tmp_path)
    remedy(folder_store, tmp_path)

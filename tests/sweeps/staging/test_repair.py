"""Staging again makes a damaged dataset whole, whatever is damaged and whoever stages."""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import run_here, tiny

from cluster.datasets.image_counts import read_image_counts
from cluster.datasets.manifest import Manifest, find_manifest, list_datasets
from cluster.datasets.verify import verify_dataset
from cluster.node_cache.open import open_dataset
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.config.datasets import IsicOptions
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom
from spurious.readers.isic.isic import Isic
from sweeps.commands.stage import DatasetRequest, ensure_staged, stage_into
from sweeps.commands.stage import stage as stage_verb
from sweeps.plan.facts import plan_on
from sweeps.spec.model import GeneratorDataset
from sweeps.staging.sources import Staging, generator_staging

Change = Callable[[bytes], bytes | None]


def edited(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the fields of a JSON document."""

    def apply(data: bytes) -> bytes:
        fields = json.loads(data)
        change(fields)
        return json.dumps(fields).encode()

    return apply


def with_rows(fields: dict[str, Any]) -> None:
    """Count one image more, in shards and in splits alike."""
    fields["shards"][0]["rows"] += 1
    fields["splits"]["train"]["n"] += 1


MANIFEST: Mapping[str, Change] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:100],
    "text": lambda data: b"<html>Sign in</html>",
    "list": lambda data: b"[]",
    "no utf-8": lambda data: b"\xff" + data,
    "infinite": edited(lambda f: f["image_shape"].__setitem__(0, float("inf"))),
    "old version": edited(lambda f: f.update(schema_version=0)),
    "other name": edited(lambda f: f.update(name="squares")),
    "other digest": edited(lambda f: f.update(digest="ab" * 32)),
    "other content": edited(lambda f: f.update(content_digest="ab" * 32)),
    "other dtype": edited(lambda f: f.update(dtype="uint16")),
    "other shape": edited(lambda f: f["image_shape"].reverse()),
    "other counts": edited(lambda f: f["splits"]["val"].update(positives=1)),
    "other direction": edited(lambda f: f["attributes"][0].update(direction=-1)),
    "other rows": edited(with_rows),
    "text for a count": edited(lambda f: f["splits"]["val"].update(positives="7")),
    "other shard": edited(lambda f: f["shards"][0].update(sha256="ab" * 32)),
    "other size": edited(lambda f: f["shards"][0].update(size_bytes=1)),
}
SHARD: Mapping[str, Change] = {
    "zeroed": lambda data: data[:2000] + bytes(60) + data[2060:],
    "one bit": lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:],
    "cut": lambda data: data[:-1],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"\0",
    "foreign": lambda data: b"PAR1 is not enough",
    "gone": lambda data: None,
}
COUNTS: Mapping[str, Change] = {
    "cut": lambda data: data[:20],
    "text": lambda data: b"{}",
    "empty document": lambda data: gzip.compress(b"{}"),
    "gone": lambda data: None,
}
TABLE: Mapping[str, Change] = {
    "cut": lambda data: data[:200],
    "one bit": lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    "text": lambda data: b"{}",
    "gone": lambda data: None,
}
ALL_CHANGES = {"manifest": MANIFEST, "shard": SHARD, "counts": COUNTS, "table": TABLE}
DAMAGE = {
    f"{part}, {name}": (part, change)
    for part, changes in ALL_CHANGES.items()
    for name, change in changes.items()
}
SOME = {
    f"{part}, {name}": DAMAGE[f"{part}, {name}"]
    for part, names in (
        ("manifest", ("empty", "cut", "other name", "other dtype")),
        ("shard", ("zeroed", "gone")),
        ("counts", ("cut",)),
        ("table", ("one bit",)),
    )
    for name in names
}
"""One for each way of noticing, for those who stage otherwise than the verb on a generator."""

PARTS = {
    "manifest": "/manifest.json",
    "shard": "/shards/",
    "counts": "/image_counts.json.gz",
    "table": "/images.parquet",
}


def contents(store: Store) -> dict[str, bytes]:
    """Everything under `datasets/`."""
    return {key: store.get(key) for key in store.list("datasets/")}


def damage(store: Store, part: str, change: Change) -> None:
    """Damage the first object of a kind."""
    key = next(key for key in store.list("datasets/") if PARTS[part] in key)
    after = change(store.get(key))
    if after is None:
        store.delete(key)
    else:
        store.put(key, after)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the generator's dataset of a tiny spec."""
    store = FolderStore(tmp_path_factory.mktemp("template") / "store")
    ensure_staged(tiny(), store, in_process=True)
    return Path(store.url)


@pytest.fixture
def staged(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """A copy of the template; verbs stage in this process."""
    monkeypatch.setattr("cluster.jobs.session.ray_session", lambda *_, **__: nullcontext())
    monkeypatch.setattr("sweeps.commands.stage.stage_into", partial(stage_into, in_process=True))
    shutil.copytree(template, tmp_path / "store")
    return FolderStore(tmp_path / "store")


def stage_by_verb(store: FolderStore) -> None:
    """As `sweeps stage gaussian-squares --set ...`."""
    dataset = tiny().dataset
    assert isinstance(dataset, GeneratorDataset)
    options = dataclasses.asdict(dataset.options)
    assert stage_verb(DatasetRequest(dataset.name, None, None, options), store.url) == 0


@pytest.mark.parametrize(("part", "change"), DAMAGE.values(), ids=DAMAGE)
def test_a_generator_is_made_whole(staged: FolderStore, part: str, change: Change) -> None:
    """`stage` replaces what is damaged: every byte is as before, but for the time of staging."""
    before = contents(staged)
    damage(staged, part, change)
    stage_by_verb(staged)
    assert without_time(contents(staged)) == without_time(before)


@pytest.mark.parametrize(("part", "change"), SOME.values(), ids=SOME)
def test_a_run_makes_its_generator_whole(staged: FolderStore, part: str, change: Change) -> None:
    """`run` plans over the damage and stages before it trains."""
    before = contents(staged)
    damage(staged, part, change)
    assert len(plan_on(tiny(), staged).missing) == 4
    ensure_staged(tiny(), staged, in_process=True)
    assert without_time(contents(staged)) == without_time(before)


def without_time(objects: Mapping[str, bytes]) -> dict[str, Any]:
    """Objects with manifests parsed, less their provenance, which has the time."""
    parsed: dict[str, Any] = dict(objects)
    for key in objects:
        if key.endswith("manifest.json"):
            parsed[key] = dataclasses.replace(Manifest.from_json(objects[key]), provenance={})
    return parsed


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Staging:
    """A release of 12 lesions, as a reader takes it."""
    folder = tmp_path_factory.mktemp("release") / "isic"
    write_isic(folder, SkinPhantom(n_train=4, n_val=4, n_test=4, width=64, prevalence=0.5))
    return Staging(Isic(folder, IsicOptions(image_size=16)))


@pytest.mark.parametrize(("part", "change"), SOME.values(), ids=SOME)
def test_a_release_is_made_whole(
    folder_store: FolderStore, release: Staging, part: str, change: Change, tmp_path: Path
) -> None:
    """Staging a release's folder again replaces what is damaged, and trials can open it."""
    manifest = stage_into(folder_store, "moles", release, in_process=True)
    before = contents(folder_store)
    damage(folder_store, part, change)
    stage_into(folder_store, "moles", release, in_process=True)
    assert without_time(contents(folder_store)) == without_time(before)
    mended = find_manifest(folder_store, "moles", manifest.digest)
    assert not verify_dataset(folder_store, mended)
    assert read_image_counts(folder_store, mended) is not None
    open_dataset(folder_store, mended, tmp_path / "cache")


def test_a_cut_manifest_of_another_version_stops_nothing(
    staged: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Another version of the dataset is staged beside it, twice, and found."""
    damage(staged, "manifest", MANIFEST["cut"])
    other = tiny(dataset__seed=1)
    for _ in range(2):
        assert isinstance(other.dataset, GeneratorDataset)
        source = generator_staging(other.dataset.name, other.dataset.options)
        manifest = stage_into(staged, "gaussian-squares", source, in_process=True)
        assert find_manifest(staged, "gaussian-squares", manifest.digest) == manifest
    assert len(list_datasets(staged)["gaussian-squares"]) == 2


def test_damage_is_named_while_it_is_mended(
    staged: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the shard's key; a whole dataset is staged without a word, and not written."""
    written = {path: path.stat().st_ino for path in Path(staged.url).rglob("*.*")}
    stage_by_verb(staged)
    assert {path: path.stat().st_ino for path in Path(staged.url).rglob("*.*")} == written
    assert caplog.messages == []
    damage(staged, "shard", SHARD["zeroed"])
    stage_by_verb(staged)
    [shard] = (key for key in staged.list("datasets/") if PARTS["shard"] in key)
    assert any(f"{shard} in {staged.url} is damaged: it is replaced" in m for m in caplog.messages)


def test_a_sweep_over_a_damaged_shard_runs(staged: FolderStore, tmp_path: Path) -> None:
    """Its trials have the numbers of an undamaged store."""
    damage(staged, "shard", SHARD["zeroed"])
    ensure_staged(tiny(), staged, in_process=True)
    assert not run_here(staged, tiny(), tmp_path / "cache").missing

"""Staging with Ray: whole or not at all, the same whatever the number of tasks, and only once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pydicom
import pytest
import ray
from ray_here import RayHere
from tiny_sweeps import made_place, read_json, stage_here, tiny

from cluster.datasets.keys import image_counts_key, shard_key
from cluster.datasets.manifest import find_manifest
from cluster.errors import ClusterError
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.config.datasets import GaussianSquares, SiimAcrOptions
from spurious.data.records import Record
from spurious.errors import DataError
from spurious.generators.chest.chest_phantom import ChestPhantom
from spurious.generators.chest.siim_writer import write_siim_acr
from spurious.generators.skin.skin_phantom import DRAWN
from spurious.readers.siim_acr.siim_acr import SiimAcr
from sweeps.commands.stage import DatasetRequest, ensure_staged, find_whole_dataset, stage_into
from sweeps.commands.stage import stage as stage_verb
from sweeps.plan.facts import plan_on
from sweeps.spec.model import GeneratorDataset
from sweeps.staging import parts as parts_of
from sweeps.staging import stage as staging
from sweeps.staging.bad_images import BadImages
from sweeps.staging.sources import generator_staging

SMALL = {"n_train": 24, "n_val": 12, "n_test": 12, "size": 128, "prevalence": 0.5}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom release of 48 films."""
    folder = tmp_path_factory.mktemp("release") / "siim"
    write_siim_acr(folder, ChestPhantom(**SMALL))
    return folder


def contents(store: Store) -> dict[str, bytes]:
    """Everything under `datasets/`."""
    return {key: store.get(key) for key in store.list("datasets/")}


def test_a_generator_is_staged_once(ray_here: RayHere, folder_store: FolderStore) -> None:
    """Under the digest that planning knew before, as without Ray; again changes no byte."""
    spec = tiny()
    unstaged = plan_on(spec, folder_store)
    assert unstaged.unknown is not None
    ensure_staged(spec, folder_store)
    before = contents(folder_store)
    plan = plan_on(spec, folder_store)
    assert [trial.id for trial in plan.trials] == [trial.id for trial in unstaged.trials]
    assert plan.unknown is None
    stage_here(folder_store, spec)
    ensure_staged(spec, folder_store)
    assert isinstance(spec.dataset, GeneratorDataset)
    made = generator_staging(spec.dataset.name, spec.dataset.options)
    staging.stage(
        folder_store, made.source, spec.dataset.name, digest=made.digest, options=made.options
    )
    assert contents(folder_store) == before
    assert len(before) == 4
    key = image_counts_key(spec.dataset.name, plan.trials[0].dataset_digest)
    folder_store.delete(key)  # as of a dataset from before there were counts per image
    stage_here(folder_store, spec)
    assert contents(folder_store) == before


def test_the_verb_stages_again_what_has_no_counts_per_image(
    folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator's dataset that is whole is left alone; one from before those counts is not."""
    sessions: list[str] = []

    @contextmanager
    def session(name: str, **options: object) -> Iterator[None]:
        sessions.append(name)
        yield

    monkeypatch.setattr("cluster.jobs.session.ray_session", session)
    monkeypatch.setattr("sweeps.commands.stage.stage_into", partial(stage_into, in_process=True))
    spec = tiny()
    assert isinstance(spec.dataset, GeneratorDataset)
    name, options = spec.dataset.name, asdict(spec.dataset.options)
    for started in (1, 1):
        stage_verb(DatasetRequest(name, None, None, options), folder_store.url)
        assert len(sessions) == started
    before = contents(folder_store)
    folder_store.delete(image_counts_key(name, find_manifest(folder_store, name).digest))
    stage_verb(DatasetRequest(name, None, None, options), folder_store.url)
    assert len(sessions) == 2
    assert contents(folder_store) == before


def test_a_lost_shard_is_staged_again(ray_here: RayHere, folder_store: FolderStore) -> None:
    """`run` mends a generator's dataset that is not whole any more."""
    spec = tiny()
    ensure_staged(spec, folder_store)
    before = contents(folder_store)
    [shard] = folder_store.list("datasets/gaussian-squares/shards/")
    folder_store.delete(shard)
    digest = plan_on(spec, folder_store).trials[0].dataset_digest
    assert find_whole_dataset(folder_store, "gaussian-squares", digest) is None
    ensure_staged(spec, folder_store)
    assert contents(folder_store)[shard] == before[shard]


def test_the_digest_does_not_depend_on_the_number_of_tasks(
    ray_here: RayHere, folder_store: FolderStore, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many tasks with a shard each or one: the same dataset; staging it again writes nothing."""
    source = SiimAcr(release, SiimAcrOptions(image_size=64))
    whole = staging.stage(folder_store, source, "siim-acr")
    before = contents(folder_store)
    monkeypatch.setattr(parts_of, "PART_BYTES", 20 * 64 * 64)
    parts = staging.stage(FolderStore(Path(folder_store.url) / "other"), source, "siim-acr")
    assert len(whole.shards) == 1
    assert len(parts.shards) == 3
    assert parts.digest == whole.digest
    assert staging.stage(folder_store, source, "siim-acr") == whole
    assert contents(folder_store) == before  # not even shards that no manifest names


def test_bad_images_are_told_at_once_and_nothing_is_staged(
    ray_here: RayHere,
    folder_store: FolderStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every bad file is named in one error; no manifest, and of shards only those of whole parts.

    What workers warn of is logged here. With the files restored, the next run loads the parts that
    had bad ones, and leaves no trace of the journal.
    """
    release = tmp_path / "release"
    write_siim_acr(release, ChestPhantom(**{**SMALL, "n_train": 8}))
    source = SiimAcr(release, SiimAcrOptions(image_size=64))
    staging.stage(folder_store, SiimAcr(release, SiimAcrOptions(image_size=32)), "siim-acr")
    before = contents(folder_store)
    films = sorted(release.rglob("*.dcm"))
    doubtful = pydicom.dcmread(films[5])
    doubtful.decompress(generate_instance_uid=False)
    doubtful.PixelData = (doubtful.pixel_array.astype("uint16") * 16).tobytes()
    doubtful.BitsAllocated, doubtful.BitsStored, doubtful.HighBit = 16, 16, 15
    doubtful["PixelData"].VR = "OW"
    doubtful.save_as(films[5])
    bad = [films[0], films[9], films[-1]]
    whole = [film.read_bytes() for film in bad]
    bad[0].write_bytes(b"no DICOM at all")
    for film in bad[1:]:
        film.write_bytes(film.read_bytes()[:-3000])
    monkeypatch.setattr(parts_of, "PART_BYTES", 10 * 64 * 64)  # some parts have no bad file
    with pytest.raises(BadImages, match=r"3 of 32 images cannot be staged; restore") as caught:
        staging.stage(folder_store, source, "siim-acr")
    assert [film.name in str(caught.value) for film in bad] == [True] * 3
    assert set(caught.value.bad) == {film.stem for film in bad}
    assert f"{films[5].name}: 16 stored bits hold values to 4095 only" in caplog.text
    left = contents(folder_store)
    kept = {key for key in left.keys() - before.keys() if "/shards/" in key}
    entries = {key for key in left.keys() - before.keys() if "/parts/" in key}
    assert left.keys() == before.keys() | kept | entries
    assert len(kept) == len(entries) >= 1
    for film, data in zip(bad, whole, strict=True):
        film.write_bytes(data)
    caplog.clear()
    manifest = staging.stage(folder_store, source, "siim-acr")
    assert " of 32 images of 'siim-acr' were staged before: continuing" in caplog.text
    assert {shard_key("siim-acr", shard.sha256) for shard in manifest.shards} >= kept
    assert not list(folder_store.list("datasets/siim-acr/parts/"))
    other = FolderStore(tmp_path / "other")
    assert staging.stage(other, source, "siim-acr").digest == manifest.digest


class Empty:
    """A source without an image."""

    name = "empty"
    attribute_names: tuple[str, ...] = ("block",)
    declared_directions: Mapping[str, int] = {"block": 1}
    partial: bool = False

    def index(self) -> Sequence[str]:
        return []

    def provenance(self) -> dict[str, str]:
        return {}

    def load(self, sample_id: str) -> Record:
        raise DataError(f"no {sample_id}")


def test_a_worker_that_is_lost_is_told(
    ray_here: RayHere, folder_store: FolderStore, tmp_path: Path
) -> None:
    """One clear error after Ray's retries, and nothing staged; the command again stages all."""
    made = generator_staging("gaussian-squares", GaussianSquares(n_train=2, n_val=2, n_test=2))
    (short := tmp_path / "short-of-memory").touch()

    class Crashing:  # here, so that workers get its code
        attribute_names = made.source.attribute_names
        declared_directions = made.source.declared_directions
        partial, classes = made.source.partial, made.source.classes
        index, provenance = made.source.index, made.source.provenance

        def load(self, sample_id: str) -> Record:
            in_task = ray.is_initialized() and ray.get_runtime_context().get_task_id()
            if in_task and short.exists():
                os._exit(1)
            return made.source.load(sample_id)

    with pytest.raises(ClusterError, match=r"staged images was lost.*command again"):
        staging.stage(folder_store, Crashing(), "crashing")
    assert contents(folder_store) == {}
    short.unlink()
    assert staging.stage(folder_store, Crashing(), "crashing").rows == 6


@pytest.mark.slow
def test_the_phantom_path_as_a_user_goes_it(ray_here: RayHere, tmp_path: Path) -> None:
    """From `phantom` to `report`, on a cluster that is already there: RAY_ADDRESS leads to it."""
    with made_place(tmp_path, RAY_ADDRESS=ray_here.address) as place:
        options = [item for key, value in SMALL.items() for item in ("--set", f"{key}={value}")]
        printed = place.sweeps("phantom", "siim-acr", "films", *options, "--json").stdout
        paths = [place.folder / path for path in read_json("phantom", printed)["paths"]]
        assert sorted(paths) == sorted((place.folder / "films").iterdir())
        store = ("--store", str(place.store))
        stage = ("stage", "siim-acr", "films", "--set", "image_size=64", *store)
        staged = read_json("stage", place.sweeps(*stage, "--json").stdout)
        train = staged["splits"]["train"]
        assert (train["n"], train["positives"]) == (24, 12)
        place.spec.write_text(PHANTOM_SPEC)
        plan = place.sweeps("plan", "tiny.yaml", *store).stdout
        assert "3 trials = 3 cells x 1 seed; 0 done, 3 to run" in plan
        assert "(synthetic: spurious-sweeps chest phantom)" in plan
        place.sweeps("run", "tiny.yaml", *store)
        told = place.sweeps("report", "films", *store).stdout
        assert (place.folder / "films-report" / "report.html").stat().st_size > 10_000
        assert "films-report/report.html" in told
        refused = place.sweeps("run", "tiny.yaml", status=2)
        assert "cannot reach the embedded server of this machine" in refused.stderr
        assert list(place.temporary.iterdir()) == []  # no session of its own was started
        assert pq.read_table(place.folder / "films-report" / "cells.parquet").num_rows == 3
        manifest = find_manifest(FolderStore(place.store), "siim-acr")
        assert (staged["name"], staged["digest"]) == ("siim-acr", manifest.digest)
        assert manifest.image_shape == (64, 64, 1)
        assert manifest.provenance["images"] == "48"
        assert manifest.synthetic == "spurious-sweeps chest phantom"
        place.spec.write_text(PHANTOM_SPEC + "published: saab2022/table1\n")
        planned = place.sweeps("plan", "tiny.yaml", *store).stdout
        assert "is not the release but images of the spurious-sweeps chest phantom" in planned


PHANTOM_SPEC = """
name: films
dataset: siim-acr
axes: {specificity: [label, box, mask], budget: [12], method: [erm], seed: [0]}
model: {classifier: {name: small-cnn, channels: 4}, segmenter: {name: small-unet, channels: 4}}
train: {epochs: 2, batch_size: 6}
"""


@pytest.mark.slow
def test_the_dermoscopy_phantom_path(ray_here: RayHere, tmp_path: Path) -> None:
    """Phantom, staging, and a model of three classes of pixels, as a user goes it."""
    small = {"n_train": 24, "n_val": 12, "n_test": 12, "width": 64, "prevalence": 0.5}
    with made_place(tmp_path, RAY_ADDRESS=ray_here.address) as place:
        options = [item for key, value in small.items() for item in ("--set", f"{key}={value}")]
        wrote = place.sweeps("phantom", "isic", "moles", *options).stdout
        sweeps, *following = wrote.partition("; next: ")[2].split()
        assert (sweeps, following[0]) == ("sweeps", "stage")
        assert following[-2:] == ["--name", "moles"]
        store = ("--store", str(place.store))
        told = place.sweeps(*following, "--set", "image_size=32", *store).stdout
        assert "train: 24 images, 12 positive" in told
        manifest = find_manifest(FolderStore(place.store), "moles")
        assert manifest.image_shape == (32, 32, 3)
        directions = {a.name: (a.direction, a.source) for a in manifest.attributes}
        assert directions == {name: (sign, "measured") for name, (sign, _) in DRAWN.items()}
        for counts in manifest.splits.values():
            assert counts.abnormalities >= counts.n
            assert counts.negative_abnormalities >= counts.n - counts.positives
        spec = PHANTOM_SPEC.replace("siim-acr", "moles")
        place.spec.write_text(spec + "negatives: lesion\n")
        place.sweeps("run", "tiny.yaml", *store)
        place.sweeps("report", "films", *store)
        page = (place.folder / "films-report" / "report.md").read_text().splitlines()
        assert page[2] == (
            "**Synthetic images (spurious-sweeps skin phantom): no number here is about patients.**"
        )
        cells = pq.read_table(place.folder / "films-report" / "cells.parquet").to_pydict()
        dollars = dict(zip(cells["specificity"], cells["training_dollars"], strict=True))
        assert dollars["label"] == pytest.approx(12 * 100 / 3600)
        assert dollars["mask"] >= 12 * 45 * 100 / 3600 - 1e-9  # a mask on every image


def test_an_empty_source_is_refused(folder_store: FolderStore) -> None:
    """Nothing to stage is an error, told before Ray is needed."""
    with pytest.raises(DataError, match="has no image: nothing to stage"):
        staging.stage(folder_store, Empty(), "empty")

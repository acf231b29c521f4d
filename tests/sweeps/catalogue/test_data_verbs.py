"""`sweeps data`: what is listed, shown, checked and removed, on a dataset drawn in part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from cluster.datasets.commit import commit_manifest
from cluster.datasets.image_counts import write_image_counts
from cluster.datasets.image_table import write_image_table
from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, list_datasets
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.stores.folder import FolderStore
from spurious.data.outlines import measure_outline
from spurious.data.overlaps import measure_overlap
from spurious.data.records import Record
from spurious.scoring.measures import empirical_variance
from sweeps.catalogue.contact_sheet import TILE, choose_images
from sweeps.catalogue.covariates import add_covariates, read_covariates
from sweeps.catalogue.image_facts import load_image_columns
from sweeps.cli import main

SIDE = 32
BOX = np.array([[4, 4, 14, 12]], np.int32)


def records() -> list[Record]:
    """80 images: marks on positives of train, on negatives of test; a mask on every second."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(80):
        split, label = ("train", "train", "val", "test")[i % 4], i // 4 % 2
        marked = bool(rng.random() < (0.9 if label != (split == "test") else 0.1))
        image = rng.integers(60, 100, (SIDE, SIDE, 3), dtype=np.uint8)
        mask, mark = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
        mask[6:12, 6:12] = label == 1
        mark[10:20, 10:20] = marked
        image[mask], image[mark] = 200, 20
        drawn: dict[str, Any] = {"mask": mask, "outline": measure_outline(mask)}
        if i // 8 % 2:
            empty = np.zeros((0, 4), np.int32)
            drawn = {"mask": None, "boxes": BOX if label else empty}
        overlap = measure_overlap(mark, mask)
        record = Record(
            sample_id=f"im-{i:03d}",
            patient_id=f"p{i // 8}-{split}",
            split=split,
            label=label,
            image=image,
            abnormalities=label,
            attributes={"mark": marked, "ink": None if i % 10 == 0 else bool(rng.random() < 0.5)},
            covariates={"sex": "FM"[i % 2], "age": 30.0 + i},
            overlaps={} if overlap is None else {"mark": overlap},
            features={"mark": mark} if marked else {},
            **drawn,
        )
        made.append(record)
    return made


def stage(store: FolderStore, made: list[Record]) -> Manifest:
    """As staging does, in shards of 25 images."""
    shard_bytes = 25 * SIDE * SIDE * 3
    shards = write_shards(
        store, "marks", made, ["mark", "ink"], partial=True, shard_bytes=shard_bytes
    )
    manifest = build_manifest("marks", shards, provenance={"format": "test"}, partial=True)
    commit_manifest(store, manifest)
    rows = [row for shard in shards for row in shard.records]
    write_image_counts(store, manifest, rows)
    write_image_table(store, manifest, rows)
    return manifest


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the dataset."""
    folder = tmp_path_factory.mktemp("catalogue") / "store"
    stage(FolderStore(folder), records())
    return folder


@pytest.fixture
def own(home: Path, tmp_path: Path) -> Iterator[FolderStore]:
    """A store of a test's own."""
    store = FolderStore(tmp_path / "own")
    stage(store, records())
    return store


def read_json(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    """Run a verb with --json."""
    assert main([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_show_counts_what_the_records_say(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure against a plain computation on the records."""
    shown = read_json(capsys, "data", "show", "marks", "--store", str(home))
    made = records()
    for split, of in shown["splits"].items():
        rows = [record for record in made if record.split == split]
        positive = [record for record in rows if record.label]
        assert of["n"] == len(rows)
        assert of["patients"] == len({record.patient_id for record in rows})
        assert of["masks_y1"] == sum(record.mask is not None for record in positive)
        assert of["own_boxes_y1"] == sum(record.boxes is not None for record in positive)
    ink, mark = shown["attributes"]
    assert (ink["name"], mark["name"], mark["direction"]) == ("ink", "mark", 1)
    train = [record for record in made if record.split == "train"]
    expected = np.corrcoef(
        [record.label for record in train], [bool(record.attributes["mark"]) for record in train]
    )[0, 1]
    assert mark["splits"]["train"]["correlation"] == pytest.approx(expected)
    test = [record for record in made if record.split == "test"]
    against = [record for record in test if record.label != record.attributes["mark"]]
    assert mark["splits"]["test"]["robust_positives"] == sum(r.label for r in against)
    assert mark["splits"]["test"]["robust_negatives"] == sum(not r.label for r in against)
    alone = shown["attribute_only_auroc"]
    assert alone["images"]["train"] == sum(None not in r.attributes.values() for r in train)
    assert alone["auroc"]["train"] > 0.8 > 0.4 > alone["auroc"]["test"]
    targets = {of["specificity"]: of for of in shown["targets"]}
    positive = [record for record in train if record.label]
    assert [targets[name]["images"] for name in ("label", "box", "mask")] == [20, 20, 10]
    assert targets["label"]["area"] == 1.0
    assert targets["mask"]["area"] == pytest.approx(36 / SIDE**2)
    assert targets["box"]["area"] == pytest.approx((36 + 80) / 2 / SIDE**2)
    masks = {id(record): record.mask for record in positive}
    variance = empirical_variance((record.image, masks.get(id(record))) for record in train)
    assert targets["mask"]["variance"] == pytest.approx(variance)
    assert shown["outlines"]["vertices_2px"] == 4
    marked = [r for r in made if r.label and r.attributes["mark"]]
    assert shown["overlaps"]["mark"] == pytest.approx(
        {"images": len(marked), **dict.fromkeys(("in_mask", "in_boxes"), 4 / 100)}
    )
    assert shown["covariates"]["sex"]["commonest"] == {"F": 40, "M": 40}
    assert shown["covariates"]["age"] == {"known": 80, "lowest": 30.0, "highest": 109.0}


def test_the_text_has_the_tables(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Readable at a terminal, with a sheet that shows what is drawn."""
    sheet = home.parent / "sheet.png"
    assert main(["data", "show", "marks", "--store", str(home), "--sheet", str(sheet)]) == 0
    text = capsys.readouterr().out
    for words in ("masks y=1", "mark (+1)", "robust on", "alone, without images", "times mask"):
        assert words in text
    assert str(sheet) in text
    assert max(map(len, text.splitlines()[3:12])) <= 100
    pixels = np.asarray(Image.open(sheet)).reshape(-1, 3)
    assert len(pixels) > 24 * TILE * TILE
    assert (pixels == (255, 60, 60)).all(axis=1).any()
    assert (pixels == (255, 210, 0)).all(axis=1).any()


def test_a_sheet_spreads_over_labels_and_attributes(home: Path) -> None:
    """Training images alone, both labels, with and without each attribute."""
    store = FolderStore(home)
    manifest = Manifest.from_json(store.get(next(k for k in store.list("") if "manifest" in k)))
    columns = load_image_columns(store, manifest)
    chosen = choose_images(columns, 8)
    assert len(set(chosen.tolist())) == 8
    assert set(columns.splits[chosen]) == {"train"}
    assert set(columns.labels[chosen]) == {0, 1}
    assert {0, 1} <= set(columns.attributes[chosen, 1].tolist())
    assert len(choose_images(columns, 500)) == 40


def test_list_and_check(own: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage is listed and named, with exit status 1."""
    listed = read_json(capsys, "data", "list", "--store", own.url)["datasets"]
    assert [(of["name"], of["images"]) for of in listed] == [("marks", 80)]
    digest = listed[0]["digest"]
    label = f"marks@{digest[:8]}"
    assert read_json(capsys, "data", "check", label, "--store", own.url)["damage"] == []
    shard = next(key for key in own.list("datasets/marks/shards/"))
    own.put(shard, own.get(shard)[:-1])
    assert main(["data", "check", "marks", "--store", own.url]) == 1
    assert shard in capsys.readouterr().out
    own.put(f"datasets/marks/{digest}/manifest.json", b"{")
    (damaged,) = read_json(capsys, "data", "list", "--store", own.url)["datasets"]
    assert damaged["digest"] == digest
    assert "cannot be read" in damaged["problem"]
    assert main(["data", "check", "marks", "--store", own.url]) == 1


def test_remove_leaves_what_another_version_needs(
    own: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shared shards stay; without --yes nothing is removed; the last version takes everything."""
    made = records()
    other = stage(own, [replace(record, sample_id=record.sample_id) for record in made[:50]])
    whole = next(of for of in list_datasets(own)["marks"] if of != other.digest)
    before = set(own.list(""))
    assert main(["data", "remove", f"marks@{whole}", "--store", own.url]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert set(own.list("")) == before
    assert main(["data", "remove", f"marks@{whole}", "--store", own.url, "--yes"]) == 0
    assert "shards stay" in capsys.readouterr().out
    assert {shard_key("marks", entry.sha256) for entry in other.shards} <= set(own.list(""))
    assert main(["data", "check", "marks", "--store", own.url]) == 0
    assert main(["data", "remove", "marks", "--store", own.url, "--yes"]) == 0
    assert list(own.list("")) == []


def test_a_dataset_without_its_table_names_the_remedy(
    own: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that an older version staged; staging again adds the table."""
    (digest,) = list_datasets(own)["marks"]
    own.delete(f"datasets/marks/{digest}/images.parquet")
    assert main(["data", "show", "marks", "--store", own.url]) == 2
    assert "stage it again, which adds it and keeps the digest" in capsys.readouterr().err
    stage(own, records())
    assert main(["data", "show", "marks", "--store", own.url]) == 0


def test_croissant(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shards with their hashes, and a field for each of their columns."""
    assert main(["data", "show", "marks", "--store", str(home), "--croissant"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    *files, file_set = document["distribution"]
    store = FolderStore(home)
    for file in files:
        key = file["contentUrl"].removeprefix(f"{store.url}/")
        assert len(store.get(key)) == int(file["contentSize"].split()[0])
        assert file["sha256"] in key
    assert len(file_set["containedIn"]) == len(files) > 1
    (images,) = document["recordSet"]
    assert {field["name"] for field in images["field"]} >= {"sample_id", "image", "spurious_ink"}


def test_predictions_get_the_covariates_of_their_images(home: Path) -> None:
    """By id, whatever the order; null where unknown; nothing where the dataset is gone."""
    store = FolderStore(home)
    (digest,) = list_datasets(store)["marks"]
    ids = ["im-007", "im-002", "im-007", "elsewhere"]
    predictions = pa.table({"sample_id": ids, "score": [0.1, 0.2, 0.3, 0.4]})
    joined = add_covariates(predictions, read_covariates(store, "marks", digest)).to_pydict()
    assert joined["covariate_sex"] == ["M", "F", "M", None]
    assert joined["covariate_age"] == [37.0, 32.0, 37.0, None]
    assert joined["score"] == [0.1, 0.2, 0.3, 0.4]
    assert add_covariates(predictions, read_covariates(store, "gone", digest)) is predictions

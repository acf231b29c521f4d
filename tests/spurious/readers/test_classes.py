"""Readers that tell all classes apart where they are asked to, and labels alone by default."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import ramp, write_picture
from small_folder import COLUMNS, NAMES, ROWS, reader, refusal, write_csv, write_images

from cluster.datasets.manifest import Manifest
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.stores.folder import FolderStore
from spurious.config.fields import problems
from spurious.config.folder import FolderOptions
from spurious.config.releases import COVID_CLASSES, CovidRadiographyOptions
from spurious.data.classes import ImageClass
from spurious.data.records import RecordSource
from spurious.readers.covid_radiography import Reader

WORDS = {
    **{"a.png": "nevus", "b.png": "melanoma", "c.png": "Melanoma", "d.png": "keratosis"},
    **{"e.png": "Nevus", "f.png": "melanoma", "g.png": "nevus", "h.png": "melanoma"},
}
"""A class for each image of the team's folder, in several spellings."""
DIAGNOSES = [(row[0], WORDS[str(row[0])], *row[2:]) for row in ROWS]
BINARY_COVID = "977bf88857d9f5d8443e430baad2be7b8b9c93f48d66c84fc5741cd1221fe051"
BINARY_FOLDER = "40996ff049c7647bc3ff18976c35cdf3a5bb0e2e9feed378dec71c8a6ce4cb37"


def manifest_of(source: RecordSource, folder: Path) -> Manifest:
    """What staging a source gives."""
    records = [source.load(name) for name in source.index()]
    of: dict[str, Any] = {"partial": source.partial, "classes": source.classes}
    shards = write_shards(
        FolderStore(folder / "store"), source.name, records, source.attribute_names, **of
    )
    directions = source.declared_directions
    return build_manifest(source.name, shards, declared_directions=directions, **of)


@pytest.fixture(scope="module")
def covid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight films a class, with lung masks."""
    folder = tmp_path_factory.mktemp("covid")
    mask = np.zeros((256, 256, 3), np.uint8)
    mask[64:128, 64:128] = 255
    for kind in COVID_CLASSES:
        for number in range(1, 9):
            write_picture(folder / kind / "images" / f"{kind}-{number}.png", ramp(299, 299))
            write_picture(folder / kind / "masks" / f"{kind}-{number}.png", mask)
    return folder


def covid_reader(folder: Path, **options: Any) -> Reader:
    """The reader at a small size."""
    return Reader(folder, CovidRadiographyOptions(image_size=32, split="0.5/0.25/0.25", **options))


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """The team's folder with words for labels."""
    write_images(tmp_path / "team", NAMES)
    write_csv(tmp_path / "team" / "metadata.csv", COLUMNS, DIAGNOSES)
    return tmp_path / "team"


TEAM: dict[str, Any] = {"positive": "melanoma", "directions": "ruler:+1,ink:+1"}


def test_by_default_readers_give_labels_and_the_digests_that_they_gave(
    covid: Path, team: Path, tmp_path: Path
) -> None:
    """Those of before classes could be told apart; with them both are other datasets."""
    assert manifest_of(covid_reader(covid), tmp_path).digest == BINARY_COVID
    binary = reader(team, **TEAM)
    assert binary.classes == ()
    assert {binary.load(name).class_number for name in binary.index()} == {None}
    assert manifest_of(binary, tmp_path).digest == BINARY_FOLDER
    for source in (covid_reader(covid, classes="all"), reader(team, **TEAM, classes="all")):
        assert manifest_of(source, tmp_path).digest not in (BINARY_COVID, BINARY_FOLDER)


def test_covid_classes(covid: Path, tmp_path: Path) -> None:
    """In the release's order, whatever the options' order; each is in every split."""
    source = covid_reader(covid, classes="all", positive="Viral Pneumonia,COVID")
    assert source.classes == tuple(
        ImageClass(kind, kind in ("COVID", "Viral Pneumonia")) for kind in COVID_CLASSES
    )
    for name in source.index():
        record = source.load(name)
        assert record.class_number is not None
        assert COVID_CLASSES[record.class_number] == name.rpartition("-")[0]
    manifest = manifest_of(source, tmp_path)
    assert [of.classes for of in manifest.splits.values()] == [(4,) * 4, (2,) * 4, (2,) * 4]
    assert source.provenance()["classes"] == ", ".join(COVID_CLASSES)
    assert "by film, class and source" in source.provenance()["split"]
    three = covid_reader(covid, classes="all", negative="Normal,Lung_Opacity")
    assert [each.name for each in three.classes] == ["COVID", "Lung_Opacity", "Normal"]
    assert three.load("Normal-1").class_number == 2


def test_covid_needs_three_classes() -> None:
    """Said before anything is read."""
    found = problems(CovidRadiographyOptions(classes="all", negative="Normal"))
    assert found == [
        "classes: all needs 3 classes, and positive and negative name 2; name more, or leave "
        "classes out"
    ]
    assert not problems(CovidRadiographyOptions(classes="all", negative="Normal,Lung_Opacity"))


def test_folder_classes(team: Path, tmp_path: Path) -> None:
    """By name, case folded, the most frequent spelling; what is label 1 is named as before."""
    source = reader(team, **TEAM, classes="all")
    assert [(each.name, each.positive) for each in source.classes] == [
        ("keratosis", False),
        ("melanoma", True),
        ("nevus", False),
    ]
    for name in source.index():
        record = source.load(name)
        assert record.class_number is not None
        assert source.classes[record.class_number].name == WORDS[f"{name}.png"].lower()
    assert any("3 classes are told apart" in note for note in source.notes)
    counts = {split: of.classes for split, of in manifest_of(source, tmp_path).splits.items()}
    assert counts == {"train": (1, 2, 1), "val": (0, 1, 1), "test": (0, 1, 1)}


def test_splits_share_classes_out(tmp_path: Path) -> None:
    """Where splits are drawn, of each class as of all images; labels alone are shared by label."""
    names = [f"im{i:03d}.png" for i in range(80)]
    words = ["normal"] * 40 + ["melanoma"] * 20 + ["rare"] * 12 + ["rarer"] * 8
    write_images(tmp_path, names)
    write_csv(
        tmp_path / "metadata.csv", ("file_name", "label"), list(zip(names, words, strict=True))
    )
    of = {"positive": "melanoma", "split_shares": "0.5/0.25/0.25"}
    source = reader(tmp_path, **of, classes="all")
    entries = source.contents.entries
    held = Counter((entry.split, words[int(name[2:])]) for name, entry in entries.items())
    for word, n in Counter(words).items():
        assert [held[split, word] for split in ("train", "val", "test")] == [n // 2, n // 4, n // 4]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"d.png": "nevus"}, "classes: all needs 3 classes, and there are 2 (melanoma, nevus)"),
        ({"a.png": "nevus|scar"}, "1 images are of several classes (first metadata.csv line 2)"),
        ({"d.png": "nevus", "g.png": "keratosis"}, "split train has no image of class keratosis"),
        ({"d.png": "k" * 61}, "class name 'kkkk"),
    ],
)
def test_what_classes_all_cannot_take_is_named(
    team: Path, changes: dict[str, str], words: str
) -> None:
    """With what to do; leaving the option out, which is named, reads the folder."""
    rows = [(row[0], changes.get(str(row[0]), row[1]), *row[2:]) for row in DIAGNOSES]
    write_csv(team / "metadata.csv", COLUMNS, rows)
    assert words in refusal(team, **TEAM, classes="all")
    assert len(reader(team, **TEAM).index()) == len(ROWS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "classes: all needs positive, the classes that are label 1"),
        (
            {"positive": "x", "label": "coco", "coco": "a.json"},
            "classes: all needs a class for each image, and label coco tells two apart",
        ),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, str], words: str) -> None:
    """Said before anything is read."""
    made = replace(FolderOptions(classes="all"), **options)  # type: ignore[arg-type]
    assert words in problems(made)

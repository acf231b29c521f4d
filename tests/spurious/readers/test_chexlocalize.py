"""Reader of CheXpert with CheXlocalize, on folders written by hand and on the released table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import ramp, real_table, write_picture, write_text

from spurious.config.fields import problems
from spurious.config.releases import ChexlocalizeOptions
from spurious.data.records import Overlap
from spurious.errors import DataError
from spurious.readers.chexlocalize import Reader
from spurious.readers.chexlocalize.chexpert_files import read_labels
from spurious.readers.issues import ReaderIssues

TRAIN = """
    Path,Sex,Age,Frontal/Lateral,AP/PA,Pneumothorax,Support Devices
    CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,
    CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg,Female,68,Lateral,,1.0,
    CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg,Unknown,0,Frontal,PA,-1.0,-1.0
    CheXpert-v1.0-small/train/patient00003/study1/view1_frontal.jpg,Male,90,Frontal,PA,,1.0
"""
VALID = """
    Path,Sex,Age,Frontal/Lateral,AP/PA,Pneumothorax,Support Devices
    CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,1.0,1.0
    CheXpert-v1.0/valid/patient64542/study1/view1_frontal.jpg,Male,73,Frontal,AP,1.0,1.0
    CheXpert-v1.0/valid/patient64543/study1/view1_frontal.jpg,Male,73,Frontal,AP,0.0,0.0
"""
TEST = """
    Path,Pneumothorax,Support Devices
    test/patient64741/study1/view1_frontal.jpg,1.0,0.0
"""
# column by column of 8 x 12 pixels: the mask is rows 2 to 5 of columns 1 and 2
FINDING = {"size": [8, 12], "counts": [10, 4, 4, 4, 74]}
DEVICE = {"size": [8, 12], "counts": [18, 4, 4, 4, 66]}
EMPTY = {"size": [8, 12], "counts": [96]}
MASKS = {"patient64541_study1_view1_frontal": {"Pneumothorax": FINDING, "Support Devices": DEVICE}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Films of 8 x 12 pixels; the folder of validation is called as CheXlocalize calls it."""
    home = tmp_path / "CheXpert"
    for name, text in (("train", TRAIN), ("val_labels", VALID), ("test_labels", TEST)):
        write_text(home / f"{name}.csv", text)
        for line in text.split():
            if "patient" in line:
                path = "patient" + line.split(",")[0].split("patient")[1]
                write_picture(home / name.removesuffix("_labels") / path, ramp(8, 12))
    write_masks(tmp_path, MASKS)
    return tmp_path


def write_masks(folder: Path, masks: Any) -> None:
    """Masks of validation."""
    write_text(folder / "CheXlocalize" / "gt_segmentations_val.json", json.dumps(masks))


def reader(folder: Path, **options: Any) -> Reader:
    """The reader under test; sides differ, and the smaller one is that of the staged image."""
    return Reader(folder, ChexlocalizeOptions(image_size=8, **options))


def film(number: int) -> str:
    """Name of a patient's first film."""
    return f"patient{number:05d}_study1_view1_frontal"


def test_films_are_found_whatever_the_folder_is_called(folder: Path) -> None:
    """Paths of tables begin with CheXpert-v1.0, -small or nothing, and say valid for val."""
    source = reader(folder)
    splits = {name: source.load(name).split for name in source.index()}
    assert splits == {
        film(1): "train",
        film(3): "train",
        film(64541): "val",
        film(64542): "val",
        film(64543): "val",
        film(64741): "test",
    }
    assert len(reader(folder, views="all").index()) == 7
    (folder / "CheXpert" / "val").rename(folder / "CheXpert" / "valid")
    assert list(reader(folder).index()) == list(splits)


def test_mask_of_the_finding_and_overlap_of_the_device(folder: Path) -> None:
    """Column by column; half of the device is in the mask, and so it is in its box."""
    record = reader(folder).load(film(64541))
    assert record.mask is not None
    # native columns 1 and 2 of 12 are columns 0 and 1 of 8
    assert np.argwhere(record.mask).tolist() == [[r, c] for r in (2, 3, 4, 5) for c in (0, 1)]
    assert record.overlaps == {"support_devices": Overlap(0.5, 0.5)}
    assert record.features["support_devices"].shape == record.mask.shape
    inside = record.features["support_devices"] & record.mask
    assert 0 < inside.sum() < record.features["support_devices"].sum()
    assert record.outline is not None
    assert record.outline.area == 8 / 96
    assert (record.label, record.abnormalities) == (1, 1)
    assert record.attributes == {"support_devices": True}


def test_a_film_that_the_masks_do_not_list(folder: Path) -> None:
    """Nothing to draw at label 0; at label 1 nobody drew; train has no masks at all."""
    source = reader(folder)
    negative = source.load(film(64543)).mask
    assert negative is not None
    assert not negative.any()
    assert source.load(film(64542)).mask is None
    assert source.load(film(3)).mask is None
    write_masks(folder, {**MASKS, film(64542): {"Pneumothorax": EMPTY, "Support Devices": DEVICE}})
    assert reader(folder).load(film(64542)).mask is None


def test_a_label_that_is_uncertain(folder: Path) -> None:
    """-1 is left out, or either; blank is 0; an uncertain device is unknown."""
    uncertain = film(2)
    assert uncertain not in reader(folder).index()
    assert reader(folder, uncertain="positive").load(uncertain).label == 1
    assert reader(folder, uncertain="negative").load(uncertain).label == 0
    record = reader(folder, uncertain="negative").load(uncertain)
    assert record.attributes == {"support_devices": None}
    assert reader(folder).load(film(1)).attributes == {"support_devices": False}
    assert reader(folder).load(film(3)).label == 0


def test_the_test_table_has_no_persons(folder: Path) -> None:
    """Sex `Unknown` and age 0 are not known either."""
    unknown = {"sex": None, "age": None, "view": None}
    assert reader(folder).load(film(64741)).covariates == unknown
    blank = reader(folder, uncertain="negative").load(film(2)).covariates
    assert blank == {"sex": None, "age": None, "view": "PA"}
    assert reader(folder).load(film(1)).covariates == {"sex": "F", "age": 68.0, "view": "AP"}


def test_small_films_take_the_masks_of_large_ones(folder: Path) -> None:
    """CheXpert-v1.0-small has the same aspect; masks of another aspect are of other films."""
    large = {"size": [16, 24], "counts": [2 * 16 + 4, 8, 8, 8, 8, 8, 8, 8, 384 - 92]}
    write_masks(folder, {film(64541): {"Pneumothorax": large, "Support Devices": EMPTY}})
    mask = reader(folder).load(film(64541)).mask
    assert mask is not None
    assert np.argwhere(mask).tolist() == [[r, c] for r in (2, 3, 4, 5) for c in (0, 1)]
    write_masks(folder, {film(64541): {"Pneumothorax": {"size": [12, 12], "counts": [144]}}})
    with pytest.raises(DataError, match="mask of 12 x 12 pixels, and the film has 8 x 12"):
        reader(folder).load(film(64541))


def test_val_and_test_alone_are_split_anew(folder: Path) -> None:
    """Without train, which has no masks, by patient."""
    (folder / "CheXpert" / "train.csv").unlink()
    source = reader(folder, split="0.5/0.25/0.25")
    assert {source.load(name).split for name in source.index()} <= {"train", "val", "test"}
    assert source.load(film(64541)).mask is not None
    assert len(source.index()) == 4


@pytest.mark.parametrize(
    ("table", "text", "part"),
    [
        ("train", TRAIN.replace("-1.0,-1.0", "2,0"), "line 4: Pneumothorax is '2' instead of"),
        ("train", TRAIN.replace("study1/view1", "view1"), "line 2: Path is 'CheXpert-v1.0-small"),
        (
            "val_labels",
            VALID + VALID.strip().splitlines()[-1],
            "line 5: second row of patient64543",
        ),
        ("test_labels", TEST.replace("64741", "64742"), "no row of test_labels.csv matches"),
    ],
)
def test_a_row_that_is_wrong_is_named(folder: Path, table: str, text: str, part: str) -> None:
    """With its line."""
    write_text(folder / "CheXpert" / f"{table}.csv", text)
    with pytest.raises(DataError) as caught:
        reader(folder).index()
    assert part in str(caught.value)


def test_annotations_are_not_segmentations(folder: Path) -> None:
    """The other file of the release has polygons; and no file is an error, not a set of labels."""
    write_masks(folder, {film(64541): {"img_size": [8, 12], "Pneumothorax": [[[1, 2], [3, 4]]]}})
    with pytest.raises(DataError, match="take gt_segmentations, not gt_annotations"):
        reader(folder).index()
    with pytest.raises(DataError, match="name the folder of CheXlocalize with 'masks'"):
        reader(folder, masks="elsewhere").index()
    assert problems(ChexlocalizeOptions(attribute="Pneumothorax"))


def test_released_table(tmp_path: Path) -> None:
    """223,414 films, 11,676 of them with pneumothorax and devices."""
    issues, findings = ReaderIssues(), ("Pneumothorax", "Support Devices")
    rows = read_labels(real_table("chexpert_train.csv.gz", tmp_path), "train", findings, issues)
    assert not issues.count
    assert len(rows) == 223_414
    assert sum(list(row.values.values()) == [1, 1] for row in rows.values()) == 11_676

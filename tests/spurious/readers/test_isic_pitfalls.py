"""Pitfalls of ISIC 2018 task 1 with trap splits, on a folder written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hand_made import write_picture

from spurious.config.datasets import IsicOptions
from spurious.errors import DataError
from spurious.readers.isic import Reader

HEADER = ",image,dark_corner,hair,gel_border,gel_bubble,ruler,ink,patches,vasc,label,label_string\n"
TABLES = {
    "train": "0,ISIC_0000000.png,0,0,0,0,0,0,1,1,0,benign\n"
    "7,ISIC_0000009.png,1,0,0,0,1,0,0,0,1,malignant\n"
    "1,ISIC_0000001.png,0,1,0,1,0,0,0,0,0,benign\n",
    "val": "7,ISIC_0000009.png,1,0,0,0,1,0,0,0,1,malignant\n",
    "test": "4,ISIC_0000006.png,0,0,1,0,0,1,0,0,1,malignant\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five JPEGs of 16 x 24 pixels with what the releases have beside them."""
    inputs, masks = "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"
    mask = np.zeros((16, 24), np.uint8)
    mask[4:8, 12:24] = 255
    for number in (0, 1, 6, 9, 13):
        colours = np.full((16, 24, 3), (200, 120, 40), np.uint8)
        write_picture(tmp_path / inputs / f"ISIC_{number:07d}.jpg", colours)
        write_picture(tmp_path / inputs / f"ISIC_{number:07d}_superpixels.png", mask)
        write_picture(tmp_path / masks / f"ISIC_{number:07d}_segmentation.png", mask)
    for table in (inputs, masks):
        (tmp_path / table / "ATTRIBUTION.txt").write_text("text")
    # of task 3, whose images are others: all of them would be melanomas
    rows = "".join(f"ISIC_{number:07d},1.0,0.0\n" for number in (0, 1, 6, 9))
    (tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(f"image,MEL,NV\n{rows}")
    for split, rows in TABLES.items():
        (tmp_path / f"isic_annotated_{split}1.csv").write_text(HEADER + rows)
    return tmp_path


def reader(folder: Path) -> Reader:
    """The reader under test."""
    return Reader(folder, IsicOptions(image_size=8))


def test_labels_and_artefacts_are_those_of_the_trap_tables(folder: Path) -> None:
    """They say .png of JPEGs, and `vasc` stands between artefacts and label; 13 has no row."""
    source = reader(folder)
    records = {image[-1]: source.load(image) for image in source.index()}
    assert {name: record.label for name, record in records.items()} == {
        **{"0": 0, "1": 0},
        **{"6": 1, "9": 1},
    }
    shown = {
        name: [artefact for artefact, there in record.attributes.items() if there]
        for name, record in records.items()
    }
    assert shown == {
        "0": ["patches"],
        "1": ["gel_bubble", "hair"],
        "6": ["gel_border", "ink"],
        "9": ["dark_corner", "ruler"],
    }
    assert source.provenance()["images_without_row"] == "1"


def test_val_lies_inside_train(folder: Path) -> None:
    """As released; its images are not trained on."""
    source = reader(folder)
    assert {image[-1]: source.load(image).split for image in source.index()} == {
        **{"0": "train", "1": "train"},
        **{"6": "test", "9": "val"},
    }


def test_masks_of_benign_lesions_are_masks(folder: Path) -> None:
    """0 and 255, of every image; the picture is stretched to a square, in red, green, blue."""
    record = reader(folder).load("ISIC_0000000")
    assert record.mask is not None
    rows, columns = np.flatnonzero(record.mask.any(1)), np.flatnonzero(record.mask.any(0))
    assert (rows.tolist(), columns.tolist()) == ([2, 3], [4, 5, 6, 7])
    assert (record.label, record.abnormalities) == (0, 1)
    assert record.image[0, 0].tolist() == pytest.approx([200, 120, 40], abs=3)


def test_tables_with_semicolons_are_not_the_splits(folder: Path) -> None:
    """`isic_bias.csv` has all images, no `vasc` and semicolons: it is refused under their name."""
    text = (HEADER + TABLES["test"]).replace("vasc,", "").replace(",", ";")
    (folder / "isic_annotated_test1.csv").write_text(text)
    with pytest.raises(DataError, match=r"isic_annotated_test1\.csv.*delimiter looks like ';'"):
        reader(folder).index()

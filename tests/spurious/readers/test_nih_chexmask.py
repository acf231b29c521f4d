"""Reader of NIH ChestX-ray14 with CheXmask, on folders written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import ramp, write_picture, write_text

from spurious.config.releases import NihChexmaskOptions
from spurious.errors import DataError
from spurious.readers.nih_chexmask import Reader

TABLE = """
    Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position
    00000001_000.png,Pneumothorax|Mass,0,1,58,M,AP
    00000001_001.png,No Finding,1,1,59,M,PA
    00000002_000.png,Pneumothorax,0,2,58,F,
    00000003_000.png,Pneumothorax_X,0,3,58,F,PA
"""
MASKS = (
    "Image Index,Dice RCA (Max),Dice RCA (Mean),Landmarks,Left Lung,Right Lung,Heart,Height,Width\n"
    '00000001_000.png,0.9,0.7,"[1 2\n 3 4]",1 2 10 1,64 1,28 2,8,8\n'
    "00000001_001.png,0.9,0.69,[1 2],1 2,64 1,28 2,8,8\n"
    "99999999_000.png,0.9,0.9,[1 2],1 2,64 1,28 2,8,8\n"
    "00000003_000.png,0.9,0.9,[1 2],1 2,,28 2,8.0,8.0\n"
)
BOXES = """
    Image Index,Finding Label,Bbox [x,y,w,h],,,
    00000001_000.png,Pneumothorax,2.0,4.0,4.0,2.0
    00000001_000.png,Mass,0.0,0.0,8.0,8.0
    00000002_000.png,Infiltrate,0.0,0.0,4.0,4.0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four films of 8 pixels."""
    for name in ("00000001_000", "00000001_001", "00000002_000", "00000003_000"):
        write_picture(tmp_path / "images" / f"{name}.png", ramp(8, 8))
    write_text(tmp_path / "Data_Entry_2017_v2020.csv", TABLE)
    write_text(tmp_path / "BBox_List_2017.csv", BOXES)
    (tmp_path / "OriginalResolution").mkdir()
    (tmp_path / "OriginalResolution" / "ChestX-Ray8.csv").write_text(MASKS)
    return tmp_path


def reader(folder: Path, **options: Any) -> Reader:
    """The reader under test."""
    return Reader(folder, NihChexmaskOptions(image_size=8, **options))


def test_starts_are_absolute_from_one_row_by_row(folder: Path) -> None:
    """The opposite of SIIM-ACR; the code of SIIM would draw three other pixels."""
    mask = reader(folder).load("00000001_000.png").mask
    assert mask is not None
    assert np.argwhere(mask).tolist() == [[0, 0], [0, 1], [1, 1], [7, 7]]
    heart = reader(folder, region="heart").load("00000001_000.png").mask
    assert heart is not None
    assert np.argwhere(heart).tolist() == [[3, 3], [3, 4]]


def test_a_poor_or_missing_mask_is_not_drawn(folder: Path) -> None:
    """Of an estimated Dice of 0.69 on average, whatever its largest is; and without a row."""
    source = reader(folder)
    assert source.load("00000001_001.png").mask is None
    assert source.load("00000002_000.png").mask is None
    # without one of the lungs; it has a heart
    assert source.load("00000003_000.png").mask is None
    assert reader(folder, region="heart").load("00000003_000.png").mask is not None
    assert source.provenance()["films_without_mask"] == "3"
    assert source.provenance()["mask"] == "lungs"
    assert reader(folder, min_dice=0.6).load("00000001_001.png").mask is not None


def test_findings_are_compared_whole(folder: Path) -> None:
    """`Pneumothorax_X` is another finding; the view is the attribute, where it is known."""
    source = reader(folder)
    records = [source.load(name) for name in source.index()]
    assert [record.label for record in records] == [1, 0, 1, 0]
    assert [record.attributes["ap"] for record in records] == [True, False, None, False]
    assert records[0].patient_id == records[1].patient_id == "1"
    assert records[0].split == records[1].split


def test_only_films_that_were_boxed_have_boxes(folder: Path) -> None:
    """For that finding alone; on all others nobody drew any."""
    source = reader(folder, boxes=True)
    boxes = source.load("00000001_000.png").boxes
    assert boxes is not None
    assert boxes.tolist() == [[2, 4, 6, 6]]
    assert source.load("00000002_000.png").boxes is None
    assert reader(folder).load("00000001_000.png").boxes is None
    # the table of findings calls it Infiltration
    text = TABLE.replace("Pneumothorax,0,2", "Infiltration,0,2")
    write_text(folder / "Data_Entry_2017_v2020.csv", text)
    infiltration = reader(folder, boxes=True, positive="Infiltration").load("00000002_000.png")
    assert infiltration.boxes is not None
    assert (infiltration.label, infiltration.boxes.tolist()) == (1, [[0, 0, 4, 4]])


def test_lists_of_the_release_are_its_splits(folder: Path) -> None:
    """A patient in both lists is an error of the lists."""
    write_text(folder / "train_val_list.txt", "00000002_000.png\n00000003_000.png")
    write_text(folder / "test_list.txt", "00000001_000.png\n00000001_001.png")
    source = reader(folder)
    splits = [source.load(name).split for name in source.index()]
    assert splits[:2] == ["test", "test"]
    assert "test" not in splits[2:]
    write_text(
        folder / "train_val_list.txt", "00000001_001.png\n00000002_000.png\n00000003_000.png"
    )
    with pytest.raises(DataError, match=r"1 films are in both or none .*00000001_001"):
        reader(folder).index()
    write_text(folder / "test_list.txt", "00000001_000.png")
    with pytest.raises(DataError, match="patients 1 are in"):
        reader(folder).index()


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        (",8,8\n", ",16,16\n", "line 2, image 00000001_000.png: masks of 16 x 16 pixels"),
        ("1 2 10 1,", "10 1 1 2,", "Left Lung: run-length code has '10 1' and then '1 2'"),
        ("64 1,28", "65 1,28", "Right Lung: run-length code ends at pixel 65"),
        ("1 2 10 1,", "0 2 10 1,", "Left Lung: run-length code starts at pixel 0"),
    ],
)
def test_a_mask_of_another_image_or_convention_is_named(
    folder: Path, old: str, new: str, part: str
) -> None:
    """With its line, where a row may have several."""
    (folder / "OriginalResolution" / "ChestX-Ray8.csv").write_text(MASKS.replace(old, new))
    with pytest.raises(DataError) as caught:
        reader(folder).load("00000001_000.png")
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (MASKS + MASKS.splitlines()[3], "line 7: second row of 00000001_001.png"),
        (MASKS + "00000002_000.png,0.9", "line 7: 2 cells instead of 9: cut off"),
        (MASKS.replace("Left Lung", "Lung"), "no column Left Lung; expected a table of CheXmask"),
        ("", "empty"),
    ],
)
def test_a_damaged_table_is_named(folder: Path, text: str, part: str) -> None:
    """Before anything is decoded."""
    (folder / "OriginalResolution" / "ChestX-Ray8.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        reader(folder).index()
    assert part in str(caught.value)

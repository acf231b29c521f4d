"""Reader of the RSNA pneumonia challenge, on folders written by hand and on the released table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hand_made import ramp, real_table, write_dicom, write_text

from spurious.config.releases import RsnaPneumoniaOptions
from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.rsna_pneumonia import Reader
from spurious.readers.rsna_pneumonia.rsna_tables import read_boxes

TABLE = """
    patientId,x,y,width,height,Target
    sick,10.0,4.0,20.0,30.0,1
    sick,40.0,8.0,16.0,24.0,1
    sick,10.0,4.0,20.0,30.0,1
    well,,,,,0
    bed,0.0,0.0,64.0,64.0,1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three films of 64 pixels."""
    views = {"sick": "AP", "well": "PA", "bed": "LL"}
    for name, view in views.items():
        path = tmp_path / "stage_2_train_images" / f"{name}.dcm"
        write_dicom(path, ramp(64, 64), PatientSex="F", ViewPosition=view, PatientID=name)
    write_text(tmp_path / "stage_2_train_labels.csv", TABLE)
    return tmp_path


def reader(folder: Path) -> Reader:
    """The reader under test."""
    return Reader(folder, RsnaPneumoniaOptions(image_size=32))


def message(folder: Path) -> str:
    """What reading the index says is wrong."""
    with pytest.raises(DataError) as caught:
        reader(folder).index()
    return str(caught.value)


def test_every_row_of_a_film_is_a_box(folder: Path) -> None:
    """All rows count, an exact copy once; who takes the first row of a film loses boxes."""
    record = reader(folder).load("sick")
    assert record.boxes is not None
    assert record.boxes.tolist() == [[5, 2, 15, 17], [20, 4, 28, 16]]
    assert record.boxes.dtype == np.int32
    assert (record.label, record.abnormalities, record.mask) == (1, 2, None)


def test_a_film_without_pneumonia_has_empty_boxes(folder: Path) -> None:
    """Somebody looked: no box is not an unknown box."""
    record = reader(folder).load("well")
    assert record.boxes is not None
    assert record.boxes.shape == (0, 4)
    assert (record.label, record.abnormalities, record.mask) == (0, 0, None)


def test_view_is_the_attribute(folder: Path) -> None:
    """AP, PA, and neither; sex and view come along."""
    views = {name: reader(folder).load(name) for name in ("sick", "well", "bed")}
    assert {name: record.attributes["ap"] for name, record in views.items()} == {
        "sick": True,
        "well": False,
        "bed": None,
    }
    assert views["sick"].covariates == {"sex": "F", "age": None, "view": "AP", "class": None}


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("well,1,2,3,4,0", "Target is 0, but there is a box"),
        ("new,,,,,1", "Target is 1, but there is no box"),
        ("new,1,2,0,4,1", "0 wide and 4 high"),
        ("sick,,,,,0", "has Target 0 here and another in line 2"),
        ("new,1,2,3,4,2", "Target is '2' instead of 0 or 1"),
        (",1,2,3,4,1", "no patientId"),
    ],
)
def test_a_row_that_contradicts_itself_is_named(folder: Path, line: str, part: str) -> None:
    """With its line."""
    write_text(folder / "stage_2_train_labels.csv", TABLE + line)
    assert "stage_2_train_labels.csv line 7" in (text := message(folder))
    assert part in text


def test_a_box_outside_its_film_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that goes past the border is clipped with a warning."""
    write_text(folder / "stage_2_train_labels.csv", TABLE.replace("20.0,30.0", "60.0,30.0"))
    boxes = reader(folder).load("sick").boxes
    assert boxes is not None
    assert boxes[0].tolist() == [5, 2, 32, 17]
    assert "line 2, film sick: a box goes 6 pixels past the border" in caplog.text
    write_text(folder / "stage_2_train_labels.csv", TABLE.replace("10.0,4.0", "80.0,4.0"))
    with pytest.raises(DataError, match=r"line 2, film sick: box from x, y .* lies outside"):
        reader(folder).load("sick")


def test_released_table(tmp_path: Path) -> None:
    """30,227 rows of 26,684 films; 9,555 boxes are on 6,012 of them."""
    path, issues = real_table("kaggle_stage_2_train_labels.csv.zip", tmp_path), ReaderIssues()
    films = read_boxes(path, issues)
    assert not issues.count
    assert len(films) == 26_684
    assert sum(bool(film.boxes) for film in films.values()) == 6_012
    assert sum(len(film.boxes) for film in films.values()) == 9_555
    assert sum(len(film.boxes) or 1 for film in films.values()) == 30_227

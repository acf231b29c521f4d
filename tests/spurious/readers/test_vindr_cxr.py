"""Reader of VinDr-CXR, on folders written by hand and on the released table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import ramp, real_table, write_dicom, write_text

from spurious.config.fields import problems
from spurious.config.releases import VindrCxrOptions
from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.vindr_cxr import Reader
from spurious.readers.vindr_cxr.vindr_tables import read_readings

TABLE = """
    image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
    agreed,Pneumothorax,12,R1,8,8,28,28
    agreed,Pneumothorax,12,R2,12,8,32,28
    agreed,Pneumothorax,12,R3,40,40,60,60
    agreed,Pleural effusion,10,R1,0,40,20,64
    agreed,Pleural effusion,10,R3,30,40,64,64
    alone,Pneumothorax,12,R1,8,8,28,28
    alone,No finding,14,R2,,,,
    alone,No finding,14,R3,,,,
    well,No finding,14,R1,,,,
    well,No finding,14,R2,,,,
    well,No finding,14,R3,,,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three films of 64 pixels and 12 bits."""
    for name in ("agreed", "alone", "well"):
        path = tmp_path / "train" / f"{name}.dicom"
        write_dicom(path, ramp(64, 64, np.uint16) >> 4, bits=12, PatientSex="M", PatientAge="058Y")
    write_text(tmp_path / "train.csv", TABLE)
    return tmp_path


def reader(folder: Path, **options: Any) -> Reader:
    """The reader under test."""
    return Reader(folder, VindrCxrOptions(image_size=32, **options))


def boxes(folder: Path, film: str, **options: Any) -> list[list[int]]:
    """The staged boxes of a film."""
    found = reader(folder, **options).load(film).boxes
    assert found is not None
    assert found.shape[1] == 4
    return found.tolist()


def message(folder: Path, **options: Any) -> str:
    """What reading the index says is wrong."""
    with pytest.raises(DataError) as caught:
        reader(folder, **options).index()
    return str(caught.value)


def test_boxes_of_readers_who_agree_are_one(folder: Path) -> None:
    """Mean of the edges, 10 to 30; the box of a single reader goes."""
    record = reader(folder).load("agreed")
    assert boxes(folder, "agreed") == [[5, 4, 15, 14]]
    assert (record.label, record.abnormalities, record.mask) == (1, 1, None)
    assert boxes(folder, "agreed", min_readers=1) == [[5, 4, 15, 14], [20, 20, 30, 30]]
    assert boxes(folder, "agreed", overlap=0.7) == []


def test_an_attribute_needs_readers_but_no_place(folder: Path) -> None:
    """Two drew an effusion, on two sides."""
    assert reader(folder).load("agreed").attributes == {"pleural_effusion": True}
    assert reader(folder, min_readers=3).load("agreed").attributes == {"pleural_effusion": False}
    assert reader(folder, attributes="").attribute_names == ()


def test_a_film_without_finding_has_empty_boxes(folder: Path) -> None:
    """`No finding` has no coordinates; it is neither a class nor an unread film."""
    record = reader(folder).load("well")
    assert boxes(folder, "well") == []
    assert (record.label, record.abnormalities, record.mask) == (0, 0, None)
    assert record.covariates == {"sex": "M", "age": 58.0, "view": None}


def test_a_disputed_film_is_negative_or_left_out(folder: Path) -> None:
    """One of three drew it."""
    kept = reader(folder)
    assert kept.load("alone").label == 0
    assert kept.provenance()["disputed"] == "1 films, negative"
    left_out = reader(folder, disputed="leave-out")
    assert list(left_out.index()) == ["agreed", "well"]
    assert left_out.provenance()["disputed_images"] == "1"


def test_table_of_physionet_lies_in_its_folder(folder: Path) -> None:
    """It has no class_id."""
    rows = [line.strip().split(",") for line in TABLE.strip().splitlines()]
    text = "\n".join(",".join([*row[:2], *row[3:]]) for row in rows)
    (folder / "train.csv").unlink()
    write_text(folder / "annotations" / "annotations_train.csv", text)
    assert boxes(folder, "agreed") == [[5, 4, 15, 14]]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("well,No finding,14,R1,1,1,2,2", "line 13: 'No finding' with a box"),
        ("well,Pneumothorax,12,R1,,,,", "line 13: 'Pneumothorax' with no box"),
        ("well,Pneumothorax,12,R1,9,9,2,12", "line 13: box 9, 9, 2, 12 is -7 wide"),
        ("well,Pneumothorax,12,R1,1,1,2,2", "line 10: R1 has 'No finding' and boxes"),
        ("well,Pneumothorax,12,,1,1,2,2", "line 13: no image_id, class_name or rad_id"),
    ],
)
def test_a_row_that_contradicts_itself_is_named(folder: Path, line: str, part: str) -> None:
    """With its line."""
    write_text(folder / "train.csv", TABLE + line)
    assert part in message(folder)


def test_a_finding_that_is_not_there_is_named(folder: Path) -> None:
    """With those that are."""
    text = message(folder, positive="pneumothorax")
    assert "'pneumothorax'; expected some of Pleural effusion, Pneumothorax" in text
    assert problems(VindrCxrOptions(attributes="Pneumothorax"))


def test_released_table(tmp_path: Path) -> None:
    """67,914 rows of 15,000 films by 17 readers, three on each."""
    issues = ReaderIssues()
    films = read_readings(real_table("vinbigdata-train.csv.gz", tmp_path), issues)
    assert not issues.count
    assert len(films) == 15_000
    assert {len(film.readers) for film in films.values()} == {3}
    assert len({reader for film in films.values() for reader in film.readers}) == 17
    drawn = [len(film.clear) + sum(map(len, film.boxes.values())) for film in films.values()]
    assert sum(drawn) == 67_914
    fused = [len(film.fuse("Pneumothorax", 2, 0.4)) > 0 for film in films.values()]
    assert (sum("Pneumothorax" in film.boxes for film in films.values()), sum(fused)) == (96, 55)

"""Reader of CANDID-PTX, on folders written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import ramp, write_dicom, write_text

from spurious.config.releases import CandidPtxOptions
from spurious.data.records import Overlap
from spurious.errors import DataError
from spurious.readers.candid_ptx import Reader

REPORTS = """
    SOPInstanceUID,StudyInstanceUID,filename,Report,EncodedPixels
    8.5.1,8.5.1.9,P12_1_2.dcm,"Left, ""small"".",2 3 4 1
    8.5.1,8.5.1.9,P12_1_2.dcm,Left again,63 1
    8.5.1,8.5.1.9,P12_1_2.dcm,Left,2 3 4 1
    8.5.2,8.5.2.9,P12_2_2.dcm,None,-1
    8.5.3,8.5.3.9,P7_1_1.dcm,None,-1
    8.5.4,8.5.4.9,P8_1_1.dcm,Same film,-1
    8.5.4,8.5.4.9,P9_1_1.dcm,Same film,-1
    8.5.5,8.5.5.9,P10_1_1.dcm,Not drawn,
    8.5.6,8.5.6.9,P11_1_1.dcm,None,-1
    8.5.6,8.5.6.9,P11_1_1.dcm,Some,2 3
"""
TUBES = """
    anon_SOPUID,annotation_ref,mask_rle
    8.5.1,a,2 2
    8.5.1,b,8 2
    8.5.99,c,2 2
    8.5.3,d,0 8
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six films of 8 pixels without ending, and what a Mac leaves beside them."""
    for number in range(1, 7):
        write_dicom(tmp_path / "dataset" / f"8.5.{number}", ramp(8, 8), PatientSex="F")
    (tmp_path / "dataset" / "._8.5.1").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "dataset" / "README").write_text("text")
    write_text(tmp_path / "Pneumothorax_reports.csv", REPORTS)
    write_text(tmp_path / "chest_tube.csv", TUBES)
    return tmp_path


def reader(folder: Path, **options: Any) -> Reader:
    """The reader under test."""
    return Reader(folder, CandidPtxOptions(image_size=8, **options))


def test_films_have_no_ending(folder: Path) -> None:
    """The last number of a UID is not one; a film that cannot be used is left out and counted."""
    source = reader(folder)
    assert list(source.index()) == ["8.5.1", "8.5.2", "8.5.3"]
    counts = source.provenance()
    left_out = ("films_of_two_patients", "films_without_mask", "films_contradicted")
    assert [counts[name] for name in left_out] == ["1", "1", "1"]
    # films without a report and reports without a film are in the release itself
    write_dicom(folder / "dataset" / "8.5.70", ramp(8, 8))
    with (folder / "Pneumothorax_reports.csv").open("a") as file:
        file.write("8.5.71,x,P70_1_1.dcm,x,-1\n")
    counts = reader(folder).provenance()
    assert (counts["images_without_row"], counts["rows_without_image"]) == ("1", "1")
    (folder / "dataset").rename(folder / "chest_radiographs")
    assert len(reader(folder).index()) == 3


def test_rows_of_a_film_are_united(folder: Path) -> None:
    """Relative and column by column, as in SIIM-ACR; the copy of a row adds nothing."""
    record = reader(folder).load("8.5.1")
    assert record.mask is not None
    assert np.argwhere(record.mask).tolist() == [[1, 1], [2, 0], [3, 0], [4, 0], [7, 7]]
    assert (record.label, record.abnormalities) == (1, 2)
    negative = reader(folder).load("8.5.2")
    assert negative.mask is not None
    assert not negative.mask.any()
    assert negative.label == 0


@pytest.mark.parametrize("copy", ["dataset/8.5.1.dcm", "images/8.5.1"])
def test_two_files_of_one_uid_are_refused(folder: Path, copy: str) -> None:
    """The release has SOPInstanceUIDs twice: neither file is chosen by the order of a listing."""
    write_dicom(folder / copy, ramp(8, 8))
    with pytest.raises(DataError, match=rf"{copy}: second file of that film; the first is dataset"):
        reader(folder).index()


def test_patients_are_the_beginning_of_the_file_name(folder: Path) -> None:
    """Both films of P12 are in one split."""
    source = reader(folder)
    first, second, third = (source.load(name) for name in source.index())
    assert [first.patient_id, second.patient_id, third.patient_id] == ["P12", "P12", "P7"]
    assert first.split == second.split


def test_lists_name_only_films_that_have_one(folder: Path) -> None:
    """Every other film has none; that of no film is no error; tubes have masks of their own."""
    source = reader(folder)
    tubes = {name: source.load(name).attributes["tube"] for name in source.index()}
    assert tubes == {"8.5.1": True, "8.5.2": False, "8.5.3": True}
    # rows 2 and 3 of column 0 and row 1 of column 1 are in the mask and its box; row 0 is in none
    film = source.load("8.5.1")
    assert film.overlaps["tube"] == Overlap(0.75, 0.75)
    rows, columns = np.nonzero(film.features["tube"])
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [
        (0, 1),
        (1, 1),
        (2, 0),
        (3, 0),
    ]
    assert source.load("8.5.2").overlaps == {}


@pytest.mark.parametrize("name", ["acute_rib_fracture.csv", "Rib_fracture_mask_rle.csv"])
def test_fractures_are_under_either_name(folder: Path, name: str) -> None:
    """Where they are asked for; the column of codes is the third, whatever it is called."""
    text = "anon_SOPUID,annotation ref,mask RLE\n8.5.2,x,0 4"
    write_text(folder / name, text)
    attributes = reader(folder, fractures=True).load("8.5.2").attributes
    assert attributes == {"tube": False, "rib_fracture": True}
    assert reader(folder).load("8.5.2").attributes == {"tube": False}


def test_codes_of_another_convention_are_refused(folder: Path) -> None:
    """Absolute starts ascend, which gaps from the end of the run before do not."""
    rows = "\n".join(f"8.6.{n},x,P{n}_1,x,2 3 10 3 18 3 26 3" for n in range(6))
    write_text(folder / "Pneumothorax_reports.csv", REPORTS + rows)
    with pytest.raises(DataError, match="6 of 6 codes with 3 runs or more ascend, as absolute"):
        reader(folder).index()


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("8.5.3,x,P7_1,x,2 3 4", "line 12: run-length code has 3 numbers"),
        ("8.5.3,x,,x,2 3", "line 12: no SOPInstanceUID or filename"),
        ("8.5.3,x,P7_1,x,1.5 2", "line 12: run-length code '1.5 2' is not whole numbers"),
    ],
)
def test_a_row_that_is_wrong_is_named(folder: Path, line: str, part: str) -> None:
    """With its line."""
    write_text(folder / "Pneumothorax_reports.csv", REPORTS + line)
    with pytest.raises(DataError) as caught:
        reader(folder).index()
    assert part in str(caught.value)


def test_a_code_of_a_larger_film_is_named(folder: Path) -> None:
    """With table and line."""
    write_text(folder / "Pneumothorax_reports.csv", REPORTS.replace("63 1", "900 8"))
    with pytest.raises(DataError, match=r"film 8.5.1, line 3: run-length code ends at pixel 908"):
        reader(folder).load("8.5.1")

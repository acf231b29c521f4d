"""Pitfalls of SIIM-ACR, on a folder written by hand: the project's writer has no part in it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hand_made import ramp, write_dicom

from spurious.config.datasets import SiimAcrOptions
from spurious.errors import DataError
from spurious.readers.siim_acr import Reader

TABLE = """ImageId, EncodedPixels
1.2.5, 2 3 4 1
1.2.5, 63 1
1.2.5, 2 3 4 1
1.2.7, -1
1.2.3,-1
1.2.9, 60 8
1.2.11, -1
"""
TUBES = {"1.2.5": True, "1.2.7": False, "1.2.3": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six films of 8 pixels; 1.2.13 has no row."""
    for number in (3, 5, 7, 9, 11, 13):
        study = tmp_path / "dicom-images-train" / f"9.{number}" / f"8.{number}"
        tags = {"SOPInstanceUID": f"1.2.{number}", "PatientID": f"p{number}"}
        write_dicom(study / f"1.2.{number}.dcm", ramp(8, 8), **tags)
    (tmp_path / "train-rle.csv").write_text(TABLE)
    (tmp_path / "cxr_tube_dict.pkl").write_bytes(pickle.dumps(TUBES))
    return tmp_path


def reader(folder: Path) -> Reader:
    """The reader under test."""
    return Reader(folder, SiimAcrOptions(image_size=8))


def test_gaps_go_column_by_column_and_rows_are_united(folder: Path) -> None:
    """Three rows are one image: two components, of which one is there twice."""
    record = reader(folder).load("1.2.5")
    assert record.mask is not None
    # (2, 3) is pixels 2 to 4, (4, 1) is 4 behind them; row by row, or absolute, they lie elsewhere
    assert np.argwhere(record.mask).tolist() == [[1, 1], [2, 0], [3, 0], [4, 0], [7, 7]]
    assert (record.label, record.abnormalities, record.patient_id) == (1, 2, "p5")


@pytest.mark.parametrize("table", ["train-rle.csv", "stage_2_train.csv"])
@pytest.mark.parametrize("space", [" ", ""])
def test_a_space_before_minus_one_is_no_mask(folder: Path, table: str, space: str) -> None:
    """Nor is the one before EncodedPixels part of its name; each is missing in some copies."""
    (folder / "train-rle.csv").rename(folder / table)
    (folder / table).write_text(TABLE.replace(", ", f",{space}"))
    source = reader(folder)
    labels = {image: source.load(image).label for image in source.index()}
    assert labels == {"1.2.11": 0, "1.2.3": 0, "1.2.5": 1, "1.2.7": 0, "1.2.9": 1}


def test_films_without_row_go_and_runs_are_clipped(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody looked at 1.2.13; the run of 1.2.9 ends 4 pixels past its film."""
    source = reader(folder)
    assert "1.2.13" not in source.index()
    assert source.provenance()["images_without_row"] == "1"
    mask = source.load("1.2.9").mask
    assert mask is not None
    assert np.argwhere(mask).tolist() == [[4, 7], [5, 7], [6, 7], [7, 7]]
    assert "train-rle.csv line 7: last run goes 4 pixels past image 1.2.9" in caplog.text


def test_the_order_of_the_tube_labels_is_the_split(folder: Path) -> None:
    """Ids ascend twice: `val`, then `test`; the films without a tube label are `train`."""
    source = reader(folder)
    held = {image: source.load(image) for image in source.index()}
    assert {image: (record.split, record.attributes["tube"]) for image, record in held.items()} == {
        "1.2.5": ("val", True),
        "1.2.7": ("val", False),
        "1.2.3": ("test", True),
        "1.2.9": ("train", None),
        "1.2.11": ("train", None),
    }


def test_a_tube_of_minus_one_is_unknown(folder: Path) -> None:
    """NEATX writes -1 where annotators disagree: neither a tube nor none, and its split stays."""
    (folder / "cxr_tube_dict.pkl").unlink()
    table = folder / "cxr_tube_dict.csv"
    table.write_text("ImageId,tube\n1.2.5,-1\n1.2.7,0\n1.2.3,1\n")
    record = reader(folder).load("1.2.5")
    assert (record.split, record.attributes) == ("val", {"tube": None})
    table.write_text("ImageId,tube\n1.2.5,-2\n1.2.7,0\n1.2.3,1\n")
    with pytest.raises(DataError, match=r"line 2: tube is '-2'; expected 0, 1, .* or -1"):
        reader(folder).index()

"""`sweeps phantom`: which release it is given decides what is drawn."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sweeps.cli import main

ROWS = "ImageId, EncodedPixels\n1.2.7, 250000 90 934 90 934 90\n1.2.8, -1\n1.2.9, -1\n"


def test_annotations_of_a_release_are_drawn_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `annotations` the folder has their films and rows; staging it is the next command."""
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    (tmp_path / "tubes.csv").write_text("ImageId,tube,split\n1.2.8,1,val\n1.2.9,0,test\n")
    options = {
        "annotations": tmp_path / "table.csv.gz",
        "tubes": tmp_path / "tubes.csv",
        "detail": 128,
        "p_tube_given_positive": 0.5,
    }
    pairs = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    folder = tmp_path / "half-real"
    assert main(["phantom", "siim-acr", str(folder), *pairs]) == 0
    assert f"next: sweeps stage siim-acr {folder} --name half-real" in capsys.readouterr().out
    assert (folder / "train-rle.csv").read_text() == ROWS
    films = {path.stem for path in folder.glob("dicom-images-train/*/*/*.dcm")}
    assert films == {"1.2.7", "1.2.8", "1.2.9"}
    assert main(["phantom", "siim-acr", str(tmp_path / "other"), *pairs[:-2]]) == 2
    assert "give p_tube_given_positive" in capsys.readouterr().err

"""Reader of the COVID-19 Radiography Database, on folders written by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import ramp, write_picture

from spurious.config.fields import problems
from spurious.config.releases import CovidRadiographyOptions
from spurious.errors import DataError
from spurious.readers.covid_radiography import Reader
from spurious.readers.xlsx import read_sheet

SHEET = """<?xml version="1.0"?>
<x:worksheet xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><x:sheetData>
<x:row><x:c r="A1" t="inlineStr"><x:is><x:t>FILE NAME</x:t></x:is></x:c>
<x:c r="D1" t="inlineStr"><x:is><x:t>URL </x:t></x:is></x:c></x:row>
<x:row><x:c r="A2" t="s"><x:v>0</x:v></x:c><x:c r="D2" t="str"><x:v>https://b.org/</x:v></x:c></x:row>
</x:sheetData></x:worksheet>"""
STRINGS = """<?xml version="1.0"?>
<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">
<si><r><t>NOR</t></r><r><t>MAL-1</t></r></si></sst>"""


def write_book(path: Path, sheet: str = SHEET) -> None:
    """A workbook with rich text, an inline text and a gap between its columns."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
        archive.writestr("xl/sharedStrings.xml", STRINGS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two films a class of 299 pixels; masks of 256 in three channels, drawn left of the middle."""
    mask = np.zeros((256, 256, 3), np.uint8)
    mask[64:128, 64:128] = 255
    home = tmp_path / "COVID-19_Radiography_Dataset"
    for kind in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"):
        for number in (1, 2):
            write_picture(home / kind / "images" / f"{kind}-{number}.png", ramp(299, 299))
            write_picture(home / kind / "masks" / f"{kind}-{number}.png", mask)
    write_book(home / "Normal.metadata.xlsx")
    return tmp_path


def reader(folder: Path, **options: Any) -> Reader:
    """The reader under test."""
    return Reader(folder, CovidRadiographyOptions(image_size=299, **options))


def test_label_is_one_class_or_a_list(folder: Path) -> None:
    """A class with a space in its name; all others are negative unless some are named."""
    labels = {name: reader(folder).load(name).label for name in reader(folder).index()}
    assert [name for name, label in labels.items() if label] == ["COVID-1", "COVID-2"]
    assert len(labels) == 8
    two = reader(folder, positive="COVID, Viral Pneumonia", negative="Normal")
    found = {name: two.load(name).label for name in two.index()}
    assert found["Viral Pneumonia-2"] == found["COVID-1"] == 1
    assert {name for name, label in found.items() if not label} == {"Normal-1", "Normal-2"}
    assert len(found) == 6


def test_masks_are_lungs_and_fit_their_films(folder: Path) -> None:
    """From 256 pixels in three channels to 299, on films of label 0 as well."""
    source = reader(folder)
    mask = source.load("Normal-1").mask
    assert mask is not None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    # pixel centres of 75 to 148: (75 + .5) * 256 / 299 = 64.6, (149 + .5) * 256 / 299 = 128.0
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (75, 148, 75, 148)
    assert source.provenance()["mask"] == "lungs"
    assert source.load("Normal-1").abnormalities == 1


def test_workbook_spells_names_in_another_case(folder: Path) -> None:
    """NORMAL-1 is Normal-1; a film without a row has an unknown source."""
    source = reader(folder, source="B.org")
    assert source.load("Normal-1").attributes == {"source": True}
    assert source.load("Normal-2").attributes == {"source": None}
    assert source.load("Normal-1").covariates == {"class": "Normal", "url": "https://b.org/"}
    with pytest.raises(DataError, match=r"no film's URL contains 'kaggle'.*https://b.org/"):
        reader(folder, source="kaggle").index()


def test_an_old_release_without_masks(tmp_path: Path) -> None:
    """Films lie in the classes' folders; nobody drew a mask, which is not an empty one."""
    for kind in ("COVID", "Normal"):
        write_picture(tmp_path / kind / f"{kind}-1.png", ramp(299, 299))
    record = reader(tmp_path, negative="Normal").load("COVID-1")
    assert (record.mask, record.outline, record.abnormalities) == (None, None, 0)
    assert reader(tmp_path, negative="Normal").provenance()["films_without_mask"] == "2"


def test_a_mask_without_film_is_reported(folder: Path) -> None:
    """Such a release was unpacked in part."""
    (folder / "COVID-19_Radiography_Dataset" / "COVID" / "images" / "COVID-2.png").unlink()
    with pytest.raises(DataError, match=r"1 masks of COVID have no film \(COVID-2.png"):
        reader(folder).index()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"positive": "Covid"}, "positive has 'Covid'; expected some of COVID"),
        ({"negative": "COVID"}, "negative has COVID, which is positive"),
        ({"positive": "COVID,Lung_Opacity,Normal,Viral Pneumonia"}, "none is left for label 0"),
    ],
)
def test_classes_are_checked(options: dict[str, str], part: str) -> None:
    """Before anything is read."""
    assert part in "; ".join(problems(CovidRadiographyOptions(**options)))


@pytest.mark.parametrize(
    ("sheet", "part"),
    [
        (SHEET.replace("FILE NAME", "NAME"), "no column FILE NAME in its first row"),
        (SHEET.replace("<x:row>", "<!DOCTYPE a>", 1), "declares entities"),
        (SHEET[:200], "cannot be read as an Excel workbook"),
    ],
)
def test_a_damaged_workbook_is_named(tmp_path: Path, sheet: str, part: str) -> None:
    """Whatever is wrong with it."""
    write_book(tmp_path / "COVID.metadata.xlsx", sheet)
    with pytest.raises(DataError, match=part) as caught:
        list(read_sheet(tmp_path / "COVID.metadata.xlsx", ("FILE NAME", "URL")))
    assert "COVID.metadata.xlsx" in str(caught.value)

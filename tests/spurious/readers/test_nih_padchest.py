"""Reader of NIH and PadChest as two sites, on folders written by hand and on released tables."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import ramp, real_table, write_picture, write_text

from spurious.config.releases import NihPadchestOptions
from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.nih.nih_files import read_boxes, read_findings
from spurious.readers.nih_padchest import Reader
from spurious.readers.nih_padchest.padchest_files import parse_labels, read_labels
from spurious.readers.nih_padchest.site_draw import Candidate, draw_sites

PADCHEST = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
NIH_TABLE = """
    Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],
    00000001_000.png,Cardiomegaly|Emphysema,0,1,058Y,M,PA,2682,2749,0.143,0.143,
    00000002_000.png,No Finding,0,2,411Y,F,PA,2682,2749,0.143,0.143,
    00000003_000.png,Cardiomegaly,0,3,006M,F,PA,2682,2749,0.143,0.143,
    00000004_000.png,Effusion,0,4,40Y,F,PA,2682,2749,0.143,0.143,
    00000005_000.png,Cardiomegaly,0,5,40Y,F,AP,2682,2749,0.143,0.143,
"""  # noqa: E501
PADCHEST_TABLE = """
    ,ImageID,StudyDate_DICOM,PatientID,PatientBirth,PatientSex_DICOM,Projection,MethodLabel,Labels
    0,a.png,20140915,11,1930.0,F,PA,Physician,"['cardiomegaly ', 'normal']"
    1,b.png,20140915,12,1930.0,F,PA,Physician,['abnormal cardiomegaly']
    2,c.png,20140915,13,None,F,PA,RNN_model,"[' cardiomegaly', 'pleural effusion']"
    3,d.png,20140915,14,1930.0,F,PA,Physician,[]
    4,e.png,20140915,15,1930.0,F,PA,Physician,nan
    5,f.png,20140915,16,1930.0,F,L,Physician,['cardiomegaly']
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five films of NIH, one of them with an alpha channel, and six of PadChest with 16 bits."""
    write_text(tmp_path / "NIH" / "Data_Entry_2017.csv", NIH_TABLE)
    for number in range(1, 6):
        folder = tmp_path / "NIH" / f"images_00{number}" / "images"
        write_picture(folder / f"0000000{number}_000.png", ramp(32, 32))
    opaque = np.dstack([ramp(32, 32)] * 3 + [np.full((32, 32), 255, np.uint8)])
    write_picture(tmp_path / "NIH" / "images_004" / "images" / "00000004_000.png", opaque)
    write_text(tmp_path / "PadChest" / PADCHEST, PADCHEST_TABLE)
    for name in "abcdef":
        write_picture(tmp_path / "PadChest" / "54" / f"{name}.png", ramp(32, 48, np.uint16))
    return tmp_path


def reader(folder: Path, **options: Any) -> Reader:
    """The reader under test; in sets this small, val and test would be empty at 0.9."""
    options = {"image_size": 32, "correlation": 0.5, "split": "0.8/0.1/0.1", **options}
    return Reader(folder, NihPadchestOptions(**options))


def labels(folder: Path, **options: Any) -> dict[str, int]:
    """Labels of all candidates of both sites."""
    source, issues = reader(folder, **options), ReaderIssues()
    films = dict(source._read_sites({}, issues))
    assert not issues.count
    return {name: film.candidate.label for name, film in films.items()}


def test_findings_are_compared_whole(folder: Path) -> None:
    """`abnormal cardiomegaly` is another label, spaces are not; films without labels go."""
    assert labels(folder) == {
        "nih-00000001_000": 1,
        "nih-00000002_000": 0,
        "nih-00000003_000": 1,
        "nih-00000004_000": 0,
        "padchest-a": 1,
        "padchest-b": 0,
        "padchest-c": 1,
        "padchest-d": 0,
    }
    assert labels(folder, views="frontal")["nih-00000005_000"] == 1
    assert labels(folder, positive="Effusion")["padchest-c"] == 1


@pytest.mark.parametrize("cell", ["['a'", "{'a'}", "[1]", "a", "__import__('os')"])
def test_labels_that_are_not_a_list_are_refused(cell: str) -> None:
    """Nothing in them is run."""
    with pytest.raises(ValueError, match=r".*"):
        parse_labels(cell)


def test_sixteen_bits_are_windowed_and_not_cut(folder: Path) -> None:
    """The darkest is 0 and the brightest 255; an image that keeps the low byte would be stripes."""
    source = reader(folder, films=20)
    for name in source.index():
        record = source.load(name)
        row = record.image[0, :, 0].astype(int)
        assert (row[0], row[-1]) == (pytest.approx(0, abs=2), pytest.approx(255, abs=2)), name
        assert (np.diff(row) >= 0).all()
        assert record.image.shape == (32, 32, 1)


def test_a_cut_film_of_sixteen_bits_is_named(folder: Path) -> None:
    """PadChest has some: none is staged with its lower part black, and the others can be read."""
    source = reader(folder, films=20)
    names = [name for name in source.index() if name.startswith("padchest")]
    path = source.image_path(names[0])
    whole = path.read_bytes()
    data = whole.index(b"IDAT") + 4
    for length in (data + 40, len(whole) - 20, len(whole) - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"{path}: .*(ends inside chunk|has no end chunk)"):
            source.load(names[0])
    for name in set(source.index()) - {names[0]}:
        assert source.load(name).image.max() == pytest.approx(255, abs=2)


def test_ages_and_sites_come_along(folder: Path) -> None:
    """`058Y`, months, an age of 411 years, and a year of birth."""
    issues = ReaderIssues()
    rows = read_findings(folder / "NIH" / "Data_Entry_2017.csv", issues)
    ages = [row.covariates["age"] for row in rows.values()]
    assert ages == [58.0, None, 0.5, 40.0, 40.0]
    held = read_labels(folder / "PadChest" / PADCHEST, issues)
    assert held["a.png"].covariates["age"] == 84.0
    assert held["c.png"].covariates["age"] is None
    assert not issues.count


def test_circle_is_the_mask_of_every_film(folder: Path) -> None:
    """Of 0.4 sides around the middle; it is no drawing, so it may be left away."""
    source = reader(folder)
    record = source.load(source.index()[0])
    assert record.mask is not None
    assert record.mask.sum() / 32**2 == pytest.approx(np.pi * 0.4**2, rel=0.03)
    assert record.mask[16, 16]
    assert not record.mask[0].any()
    assert source.provenance()["mask"] == "circle"
    assert reader(folder, mask="none").load(source.index()[0]).mask is None


@pytest.mark.parametrize("correlation", [0.9, 0.5, 1.0])
def test_site_and_finding_turn_round_after_train(correlation: float) -> None:
    """In each split half are positive; of three films of a patient one is taken, a positive one."""
    films = {
        f"{site}{label}{patient}{film}": Candidate(
            f"{site}{label}{patient}", site, label if film else 0
        )
        for site in (False, True)
        for label in (0, 1)
        for patient in range(100)
        for film in range(3)
    }
    splits = draw_sites(films, correlation, "0.5/0.25/0.25", 0, None)
    counts = Counter((split, films[film].site, films[film].label) for film, split in splits.items())
    patients = [films[film].patient for film in splits]
    assert len(set(patients)) == len(patients)
    for split, share in (
        ("train", correlation),
        ("val", 1 - correlation),
        ("test", 1 - correlation),
    ):
        agree = counts[split, True, 1]
        assert agree == counts[split, False, 0]
        assert counts[split, False, 1] == counts[split, True, 0]
        assert agree / (agree + counts[split, False, 1]) == pytest.approx(share, abs=0.03)
    assert (
        max(sum(n for (_, *g), n in counts.items() if g == [s, y]) for s in (0, 1) for y in (0, 1))
        == 100
    )
    assert draw_sites(films, correlation, "0.5/0.25/0.25", 1, None) != splits
    assert len(draw_sites(films, correlation, "0.5/0.25/0.25", 0, 40)) <= 40


def test_a_site_without_the_finding_is_named(folder: Path) -> None:
    """Nothing can be drawn."""
    with pytest.raises(DataError, match="each site needs patients with and without Hernia"):
        reader(folder, positive="Hernia").index()
    with pytest.raises(DataError, match=r"no Data_Entry_2017_v2020.csv .* name it with 'nih'"):
        reader(folder, nih="elsewhere").index()


def test_released_nih_tables(tmp_path: Path) -> None:
    """112,120 films of 30,805 patients; 984 boxes on 880 films, 98 of a pneumothorax."""
    issues = ReaderIssues()
    rows = read_findings(real_table("Data_Entry_2017_v2020.csv.gz", tmp_path), issues)
    assert (len(rows), len({row.patient for row in rows.values()})) == (112_120, 30_805)
    assert sum("Pneumothorax" in row.findings for row in rows.values()) == 5_302
    boxes = read_boxes(real_table("BBox_List_2017.csv.gz", tmp_path), issues)
    findings = Counter(finding for held in boxes.values() for finding, _ in held)
    assert (len(boxes), findings.total(), findings["Pneumothorax"]) == (880, 984, 98)
    # the table of boxes says Infiltrate for what the table of findings calls Infiltration
    labelled = {finding for row in rows.values() for finding in row.findings}
    assert findings.keys() <= labelled
    assert not issues.count


def test_released_padchest_table(tmp_path: Path) -> None:
    """160,861 films of 67,625 patients; pneumothorax and drain on 98, alone on 435 and 523."""
    issues = ReaderIssues()
    rows = read_labels(real_table(f"{PADCHEST}.gz", tmp_path), issues)
    assert (len(rows), len({row.patient for row in rows.values()})) == (160_861, 67_625)
    held = [row.labels or frozenset() for row in rows.values()]
    drains = Counter(("pneumothorax" in row, "chest drain tube" in row) for row in held)
    assert (drains[True, True], drains[True, False], drains[False, True]) == (98, 435, 523)
    assert not issues.count

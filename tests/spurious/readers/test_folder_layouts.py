"""Folders in the conventions that teams have, each written by hand: what the reader makes of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from small_folder import (
    COLUMNS,
    EXPECTED,
    HEIGHT,
    NAMES,
    ROWS,
    SIDE,
    WIDTH,
    facts,
    pixels,
    reader,
    refusal,
    write_csv,
    write_images,
    write_team,
)

from spurious.readers.resize import shrink_image

CLASSES = [
    *("train/melanoma/a.jpg", "train/nevus/b.jpg", "train/nevus/c.jpg"),
    *("valid/melanoma/a.jpg", "valid/nevus/b.jpg", "test/melanoma/a.jpg", "test/nevus/b.jpg"),
]


def write_film(path: Path, patient: str, values: np.ndarray, preamble: bytes = b"") -> None:
    """A DICOM file of 12 bits; its preamble may make it a TIFF file, too."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{sum(map(ord, path.name))}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset(str(path), {}, file_meta=meta, preamble=preamble.ljust(128, b"\0"))
    film.SOPClassUID = SecondaryCaptureImageStorage
    film.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    film.PatientID = patient
    film.Rows, film.Columns = values.shape
    film.SamplesPerPixel, film.PixelRepresentation = 1, 0
    film.PhotometricInterpretation = "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, 12, 11
    film.PixelData = values.astype("<u2").tobytes()
    film.save_as(path, enforce_file_format=True)


def test_a_table_and_images_are_read_as_they_are(tmp_path: Path) -> None:
    """Ids are the names without ending; columns of 0 and 1 are attributes, and it is said."""
    source = reader(write_team(tmp_path))
    assert list(source.index()) == sorted(EXPECTED)
    assert source.attribute_names == ("ink", "ruler")
    assert facts(source) == EXPECTED
    record = source.load("b")
    expected = shrink_image(pixels("b.png"), SIDE, SIDE)
    assert np.array_equal(record.image, expected[..., None])
    assert (record.mask, record.boxes, record.abnormalities) == (None, None, 0)
    assert source.partial
    said = " | ".join(source.notes)
    assert "spurious attributes: ink, ruler" in said
    assert "patients from column patient_id" in said


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
def test_tables_of_any_delimiter_and_any_names(delimiter: str, mark: str, tmp_path: Path) -> None:
    """As a dermoscopy team holds them: ids without ending, words, percent of another locale."""
    write_images(tmp_path / "images", [f"ISIC_{name[0]}.jpg" for name in NAMES], colour=True)
    words = {0: "nevus", 1: "Melanoma"}
    rows = [(f"ISIC_{n[0]}", words[y], r, s.upper(), p) for n, y, r, _, p, s in ROWS]
    write_csv(tmp_path / "t.csv", ("image_id", "dx", "Dark Corner", "fold", "pid"), rows, delimiter)
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(mark + text.replace("\n", "\r\n"), encoding="utf-8")
    source = reader(
        tmp_path, table="t.csv", label="dx", positive="melanoma", split="fold", patient="pid"
    )
    assert next(iter(source.index())) == "ISIC_a"
    assert source.attribute_names == ("dark_corner",)
    assert {i: v[:2] for i, v in facts(source).items()} == {
        f"ISIC_{name}": value[:2] for name, value in EXPECTED.items()
    }
    assert source.load("ISIC_a").image.shape == (SIDE, SIDE, 3)
    assert any("Melanoma (4) is label 1; nevus (4) is label 0" in note for note in source.notes)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("place", ["top", "splits"])
def test_metadata_of_hugging_face(form: str, place: str, tmp_path: Path) -> None:
    """One table of the folder, or one in each split folder, whose names are relative to it."""
    words = {"train": "train", "val": "validation", "test": "test"}
    tables: dict[str, list[dict[str, object]]] = {}
    for name, label, ruler, ink, _, split in ROWS:
        home = f"{words[str(split)]}/"
        write_images(tmp_path / home, [str(name)])
        row = {"file_name": name, "label": label, "ruler": bool(ruler), "ink": ink}
        row["ink"] = None if ink == "" else int(ink)
        row["report"] = "free text, which nobody asked for"
        if place == "top":
            row["file_name"] = f"{home}{name}"
        tables.setdefault("" if place == "top" else home, []).append(row)
    for home, rows in tables.items():
        path = tmp_path / home / f"metadata.{form}"
        if form == "parquet":
            parquet.write_table(pa.Table.from_pylist(rows), path)
        elif form == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            cells = [["" if v is None else f'"{v}"' for v in row.values()] for row in rows]
            write_csv(path, tuple(rows[0]), cells)
    source = reader(tmp_path)
    ids = {f"{words[value[0]]}/{name}": value for name, value in EXPECTED.items()}
    assert facts(source) == ids
    assert source.contents.entries["train/a"].covariates == {}
    assert any("not taken: report" in note for note in source.notes)


def test_folders_are_splits_and_classes(tmp_path: Path) -> None:
    """As ImageFolder has them, with the positive class by name; same names in several folders."""
    write_images(tmp_path, CLASSES, colour=True)
    (tmp_path / "train" / ".DS_Store").write_text("")
    (tmp_path / "notes.txt").write_text("")
    source = reader(tmp_path, positive="melanoma")
    assert {i: v[:2] for i, v in facts(source).items()} == {
        name.removesuffix(".jpg"): (
            name.split("/")[0][:5].replace("valid", "val"),
            int("mel" in name),
        )
        for name in CLASSES
    }
    assert source.load("test/melanoma/a").patient_id == "test/melanoma/a"
    assert any("patients are not known" in note for note in source.notes)
    message = refusal(tmp_path)
    assert "--set positive=melanoma" in message


def test_classes_without_splits_are_split_by_shares(tmp_path: Path) -> None:
    """What the refusal names is taken."""
    write_images(tmp_path, [f"{c}/{i}.png" for c in ("0", "1") for i in range(10)])
    assert "--split 0.7/0.1/0.2" in refusal(tmp_path)
    source = reader(tmp_path, split_shares="0.6/0.2/0.2")
    held = Counter(value[:2] for value in facts(source).values())
    assert held == {(s, y): n for s, n in (("train", 6), ("val", 2), ("test", 2)) for y in (0, 1)}


def test_val_is_taken_out_of_train(tmp_path: Path) -> None:
    """Where a release has train and test alone; patients stay together, and test as it is."""
    names = [f"{s}/{c}/{i}.png" for s in ("train", "test") for c in ("0", "1") for i in range(10)]
    write_images(tmp_path, names)
    assert "--split 0.85/0.15" in refusal(tmp_path)
    source = reader(tmp_path, split_shares="0.8/0.2")
    held = Counter(value[:2] for value in facts(source).values())
    assert held == {(s, y): n for s, n in (("train", 8), ("val", 2), ("test", 10)) for y in (0, 1)}
    assert {i.split("/")[0] for i, v in facts(source).items() if v[0] == "test"} == {"test"}
    (tmp_path / "test").rename(tmp_path / "val")
    assert "there is a val already" in refusal(tmp_path, split_shares="0.8/0.2")


def test_a_table_per_split(tmp_path: Path) -> None:
    """`train.csv`, `val.csv` and `test.csv` are read together, each for its split."""
    write_images(tmp_path, NAMES)
    for split in ("train", "val", "test"):
        rows = [row[:5] for row in ROWS if row[5] == split]
        write_csv(tmp_path / f"{split}.csv", COLUMNS[:5], rows)
    assert facts(reader(tmp_path, table="train.csv,val.csv,test.csv")) == EXPECTED


def test_chest_films_with_a_table(tmp_path: Path) -> None:
    """DICOM without endings of 12 bits: patients from their headers, windows by rule."""
    for name, _, _, _, patient, _ in ROWS:
        values = np.full((HEIGHT, WIDTH), 1024)
        values[:, WIDTH // 2 :] = 3072
        preamble = b"II*\0\x08\0\0\0" if name == "a.png" else b""
        write_film(tmp_path / f"1.2.840.{ord(str(name)[0])}", str(patient), values, preamble)
    rows = [(f"1.2.840.{ord(n[0])}", y, t, s) for n, y, t, _, _, s in ROWS]
    write_csv(tmp_path / "labels.csv", ("image_id", "label", "tube", "split"), rows)
    source = reader(tmp_path, table=str(tmp_path / "labels.csv"))
    record = source.load("1.2.840.97")
    assert record.image.shape == (SIDE, SIDE, 1)
    assert [record.image[0, 0, 0], record.image[0, -1, 0]] == [64, 191]
    patients = {i: entry.patient for i, entry in source.contents.entries.items()}
    assert patients["1.2.840.97"] == patients["1.2.840.98"] != patients["1.2.840.99"]
    narrow = reader(tmp_path, table=str(tmp_path / "labels.csv"), window="1024/3072")
    image = narrow.load("1.2.840.97").image
    assert (image.min(), image.max()) == (0, 255)


def test_deep_pictures_are_windowed_and_a_dark_one_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """16-bit PNG of 12-bit values: never cut to the low byte; the window that is named helps."""
    write_team(tmp_path)
    values = np.full((HEIGHT, WIDTH), 4095, np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert reader(tmp_path).load("a").image.max() == 16
    assert "--set window=percentile, or =0/4095" in caplog.text
    assert reader(tmp_path, window="0/4095").load("a").image.min() == 255


@pytest.mark.parametrize("aspect", ["stretch", "pad"])
def test_oblong_images_become_squares(aspect: str, tmp_path: Path) -> None:
    """Padding keeps the aspect, and masks and boxes go along."""
    columns = ("mask_file_name", "x0", "y0", "x1", "y1")
    write_team(tmp_path, columns, {"a": ("m/a.png", 0, 0, 10, 8)})
    for name in NAMES:
        values = np.full((HEIGHT, WIDTH), 255, np.uint8)
        values[:2] = 200
        Image.fromarray(values).save(tmp_path / name)
    (tmp_path / "m").mkdir()
    Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8)).save(tmp_path / "m" / "a.png")
    record = reader(tmp_path, aspect=aspect, image_size=10).load("a")
    assert record.mask is not None
    assert record.boxes is not None
    if aspect == "stretch":
        assert record.image.min() >= 200
        assert record.mask.all()
        assert record.boxes.tolist() == [[0, 0, 5, 5]]
    else:
        assert record.image[:, 0, 0].tolist() == [0, 200, *[255] * 7, 0]
        assert record.mask[:, 0].tolist() == [False, *[True] * 8, False]
        assert record.boxes.tolist() == [[0, 1, 5, 5]]


def test_grey_and_colour_images_get_one_shape(tmp_path: Path) -> None:
    """Colour where any is; `channels` decides otherwise."""
    write_team(tmp_path)
    write_images(tmp_path, ["c.png"], colour=True)
    assert {reader(tmp_path).load(i).image.shape for i in "ac"} == {(SIDE, SIDE, 3)}
    assert reader(tmp_path, channels="grey").load("c").image.shape == (SIDE, SIDE, 1)


def test_covariates_come_along_and_texts_do_not(tmp_path: Path) -> None:
    """By usual names, or as named; numbers are numbers where all of a column are."""
    columns = ("age", "sex", "report", "site_code")
    cells = {"a": (61, "f", "a lesion", "07"), "b": ("", "m", "", "x1")}
    write_team(tmp_path, columns, cells)
    record = reader(tmp_path).load("a")
    assert record.covariates == {"age": 61.0, "sex": "f", "site_code": "07"}
    assert reader(tmp_path).load("b").covariates["age"] is None
    assert reader(tmp_path, covariates="report").load("a").covariates == {"report": "a lesion"}
    assert reader(tmp_path, covariates="none").load("a").covariates == {}

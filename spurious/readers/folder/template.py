"""Writes a small complete folder that the reader `folder` takes, for teams to fill with theirs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spurious.data.randomness import generator
from spurious.readers.origin import MARK

TABLE = "metadata.csv"
HEIGHT, WIDTH = 72, 96
_COLUMNS = (
    *("file_name", "label", "ruler", "ink", "patient_id", "split", "mask_file_name"),
    *("x_min", "y_min", "x_max", "y_max", "age", "sex"),
)
_SIZES = {"train": 16, "val": 8, "test": 8}
_JPEG_QUALITY = 92

_README = """\
A small complete example of a folder that `sweeps stage folder` takes. Replace images and rows by
yours; keep what you need. Stage it, or look at what would be staged:

    sweeps stage folder {folder} --name my-images --set image_size=64
    sweeps stage folder {folder} --dry-run --set image_size=64

The images are drawn by a program and show nothing of a patient.

images/   PNG, JPEG, TIFF, BMP or DICOM, with any name.
masks/    A mask has the size of its image: 255 is abnormal, 0 is not. A mask that is all 0 says
          that somebody looked and drew nothing; no file says that nobody drew.
{table}  One row per image (several for several boxes). Its columns:

file_name       the image's file, below this folder; with or without ending and folder
label           1 with the abnormality, 0 without; class names with --set positive=melanoma
ruler, ink      spurious attributes: 1 visible, 0 not, blank not known; any number of columns
patient_id      splits never share a patient; stored as a salted hash
split           train, val or test; without the column: --split 0.7/0.1/0.2
mask_file_name  the mask's file; blank: nobody drew one
x_min, y_min, x_max, y_max
                a box in pixels from the top left, x_max and y_max exclusive; blank: nobody drew one
age, sex        carried along to the tables of predictions; any column: --set covariates=age,sex

Other names of columns: --set label=diagnosis, --set patient=pid and so on. Add a column sha256 or
md5 with each file's checksum, and damaged copies are refused. docs/data.md has all options.
"""


@dataclass(frozen=True)
class _Case:
    number: int
    split: str
    label: int
    ruler: bool
    ink: bool | None
    name: str


def write_template(folder: Path) -> None:
    """Write images, masks, `TABLE` and README.txt; the same pixels every time.

    16 training, 8 validation and 8 test images of 72 x 96 pixels, two of each patient: half PNG,
    half JPEG. The ruler goes with label 1 in train and val, and says nothing in test. Every third
    image has a mask, positives in between have a box, the others nothing.

    Args:
        folder: A new or empty folder.
    """
    for inside in ("images", "masks"):
        (folder / inside).mkdir(parents=True)
    rows = [_write_case(folder, case) for case in _cases()]
    text = _README.format(folder=folder.name, table=TABLE)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *rows])


def _cases() -> Iterator[_Case]:
    number = 0
    for split, images in _SIZES.items():
        for place in range(images):
            label = place % 2
            pair = place // 2
            contradicts = pair % (2 if split == "test" else 4) == 0
            ink = None if pair % 4 == 3 else pair % 2 == 1
            ending = "jpg" if pair % 2 else "png"
            name = f"image_{number:02d}.{ending}"
            yield _Case(number, split, label, bool(label) != contradicts, ink, name)
            number += 1


def _write_case(folder: Path, case: _Case) -> tuple[object, ...]:
    pixels, lesion = _draw(case)
    path = folder / "images" / case.name
    if path.suffix == ".jpg":
        comment = f"{MARK} template"
        Image.fromarray(pixels).save(path, quality=_JPEG_QUALITY, comment=comment)
    else:
        Image.fromarray(pixels).save(path)
    mask, box = "", ("", "", "", "")
    if case.number % 3 == 0:
        mask = f"masks/{path.stem}.png"
        Image.fromarray(lesion.astype(np.uint8) * np.uint8(255)).save(folder / mask)
    elif case.number % 3 == 1 and case.label:
        rows, columns = np.flatnonzero(lesion.any(axis=1)), np.flatnonzero(lesion.any(axis=0))
        edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        box = tuple(str(int(edge)) for edge in edges)  # type: ignore[assignment]
    flags = (case.label, int(case.ruler), "" if case.ink is None else int(case.ink))
    person = (f"p{case.number // 2:02d}", case.split)
    covariates = (40 + case.number // 2, "fm"[case.number // 2 % 2])
    return (f"images/{case.name}", *flags, *person, mask, *box, *covariates)


def _draw(case: _Case) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return (72, 96, 3) uint8 pixels and the (72, 96) bool mask of the abnormality."""
    random = generator(0, "template", case.number)
    pixels = np.full((HEIGHT, WIDTH, 3), (190, 150, 130), np.float64)
    pixels += random.normal(0.0, 8.0, pixels.shape)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    y, x = random.integers(24, 44), random.integers(28, 68)
    spot = ((rows - y) / 12) ** 2 + ((columns - x) / 15) ** 2 < 1
    pixels[spot] -= (90, 80, 60) if case.label else (25, 22, 18)
    if case.ruler:
        pixels[-8:, 4:-4:6] = 30
        pixels[-2:] = 30
    if case.ink:
        pixels[:14, :18] = (60, 40, 160)
    lesion = spot if case.label else np.zeros((HEIGHT, WIDTH), bool)
    return np.clip(pixels, 0, 255).astype(np.uint8), lesion

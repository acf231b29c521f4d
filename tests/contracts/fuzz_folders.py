"""Teams' folders in every format that the reader `folder` takes, tiny, for tests of damage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
from hand_made import write_dicom
from marks_files import write_nifti, write_segmentation
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless
from small_folder import (
    COLUMNS,
    HEIGHT,
    NAMES,
    ROWS,
    WIDTH,
    pixels,
    write_csv,
    write_images,
    write_mask,
    write_team,
)

Pixels = NDArray[Any]
_LESION = (slice(4, 8), slice(5, 10))
_TEAM = {"image_size": 8, "patient_salt": "s"}


def _save(path: Path, values: Pixels, **options: Any) -> None:
    Image.fromarray(values).save(path, **options)


def _compress(path: Path, values: Pixels, *, jpeg: bool) -> None:
    """Write a film in RLE or JPEG 2000."""
    write_dicom(path, values, SOPInstanceUID=f"1.2.{int(values[0, 0])}")
    film = pydicom.dcmread(path)
    if jpeg:
        frame = path.with_suffix(".j2k")
        _save(frame, values, no_jp2=True)
        film.PixelData = encapsulate([frame.read_bytes()])
        film.file_meta.TransferSyntaxUID = JPEG2000Lossless
        film["PixelData"].VR = "OB"
        frame.unlink()
    else:
        film.compress(RLELossless, values, generate_instance_uid=False)
    film.save_as(path)


_FORMATS: Mapping[str, Callable[[Path, Pixels], None]] = {
    "8.png": _save,
    "16.png": lambda path, values: _save(path, values.astype(np.uint16) * 257),
    "rgb.png": lambda path, values: _save(path, np.dstack([values, 255 - values, values // 2])),
    "baseline.jpg": _save,
    "progressive.jpg": lambda path, values: _save(path, values, progressive=True),
    "raw.tif": _save,
    "16.tif": lambda path, values: _save(path, values.astype(np.uint16) * 257),
    "deflate.tif": lambda path, values: _save(path, values, compression="tiff_adobe_deflate"),
    "lzw.tif": lambda path, values: _save(path, values, compression="tiff_lzw"),
    "packbits.tif": lambda path, values: _save(path, values, compression="packbits"),
    "grey.bmp": _save,
    "native.dcm": write_dicom,
    "rle.dcm": lambda path, values: _compress(path, values, jpeg=False),
    "j2k.dcm": lambda path, values: _compress(path, values, jpeg=True),
}
"""Endings of images, and what writes them."""


def _write_formats(folder: Path) -> None:
    """Write an image of each format, a mask of each format, and JSON Lines."""
    lesion = np.zeros((HEIGHT, WIDTH), np.uint8)
    lesion[_LESION] = 255
    (folder / "masks").mkdir(parents=True)
    masks = ("a.png", "a.bmp", "a.tif", "a.nii", "a.nii.gz")
    lines = []
    for number, (name, write) in enumerate(_FORMATS.items()):
        file = f"{number:02d}-{name}"
        write(folder / file, pixels(file))
        split = ("train", "val", "test")[min(number // 4, 2)]
        row = {"file_name": file, "label": number % 2, "ruler": number // 2 % 2 == 0}
        lines.append(json.dumps({**row, "patient_id": f"p{number}", "split": split, "age": 50.5}))
        mask = folder / "masks" / f"{file.rpartition('.')[0]}{masks[number % len(masks)][1:]}"
        if mask.name.endswith((".nii", ".nii.gz")):
            write_nifti(mask, lesion.T)
        else:
            _save(mask, lesion)
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def _write_segmentations(folder: Path) -> None:
    """Write films, DICOM-SEG of two of them, and Parquet."""
    top = np.zeros((HEIGHT, WIDTH), int)
    top[_LESION] = 1
    (folder / "masks").mkdir(parents=True)
    rows = [(f"{row[0][0]}.dcm", *row[1:]) for row in ROWS]
    for number, (name, *_) in enumerate(rows):
        uid = f"1.2.{number + 3}"
        write_dicom(folder / name, pixels(name), SOPInstanceUID=uid, PatientID=f"p{number}")
        if number in (1, 2):
            write_segmentation(folder / "masks" / name, [(uid, 1, top)], images=(uid,))
    pd.DataFrame([map(str, row) for row in rows], columns=COLUMNS).to_parquet(
        folder / "metadata.parquet"
    )


def _write_coco(folder: Path) -> None:
    """Write polygons, run lengths of both kinds, and boxes alone."""
    shapes: list[dict[str, Any]] = [
        {"segmentation": [[2, 2, 9, 2, 9, 7, 2, 7]], "bbox": [2, 2, 7, 5], "iscrowd": 0},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [20, 8, 292]}, "iscrowd": 1},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": "d08T9"}, "iscrowd": 1},
    ]
    export = {
        "images": [
            {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
            for number, name in enumerate(NAMES)
        ],
        "categories": [{"id": 1, "name": "lesion"}],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, **shape}
            for number, shape in enumerate(shapes)
        ],
    }
    write_team(folder)
    (folder / "coco.json").write_text(json.dumps(export))


def _write_codes(folder: Path) -> None:
    """Write run lengths in a table of tabs, and folders of splits."""
    write_images(folder, NAMES)
    codes = {"b.png": "21 5 37 5", "c.png": "101 3", "f.png": "-1", "h.png": "300 21"}
    rows = [(*row, codes.get(row[0], "")) for row in ROWS]
    write_csv(folder / "labels.tsv", (*COLUMNS, "rle"), rows, delimiter="\t")


def _write_boxes(folder: Path) -> None:
    """Write boxes in four columns, and masks in a column."""
    boxes = {"b": (0, 0, 10, 8, ""), "c": (2.5, 2, 5, 4, "masks/c.png"), "f": (1, 1, 4, 4, "")}
    write_team(folder, ("x", "y", "width", "height", "mask"), boxes)
    write_mask(folder / "masks" / "c.png", *_LESION)


FOLDERS: Mapping[str, tuple[Callable[[Path], None], Mapping[str, Any]]] = {
    "formats": (_write_formats, _TEAM),
    "DICOM-SEG": (_write_segmentations, _TEAM),
    "COCO": (_write_coco, {**_TEAM, "coco": "coco.json"}),
    "RLE": (
        _write_codes,
        {
            **_TEAM,
            "table": "labels.tsv",
            "rle": "rle",
            "rle_starts": "absolute",
            "rle_base": 1,
            "rle_order": "rows",
        },
    ),
    "boxes": (_write_boxes, _TEAM),
}
"""What writes a folder, and the options that read it."""

"""Small folders as teams hold them, written by hand, and the reader on them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spurious.config.folder import FolderOptions
from spurious.errors import DataError
from spurious.readers.folder.folder import Folder

HEIGHT, WIDTH, SIDE = 16, 20, 8

ROWS = [
    ("a.png", 0, 0, 0, "p1", "train"),
    ("b.png", 1, 1, 0, "p1", "train"),
    ("c.png", 1, 0, 1, "p2", "train"),
    ("d.png", 0, 1, "", "p2", "train"),
    ("e.png", 0, 0, 1, "p3", "val"),
    ("f.png", 1, 1, 0, "p4", "val"),
    ("g.png", 0, 1, 0, "p5", "test"),
    ("h.png", 1, 0, 1, "p5", "test"),
]
COLUMNS = ("file_name", "label", "ruler", "ink", "patient_id", "split")
NAMES = [str(row[0]) for row in ROWS]


def pixels(name: str, *, colour: bool = False) -> NDArray[np.uint8]:
    """An image that its name decides."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    shape = (HEIGHT, WIDTH, 3) if colour else (HEIGHT, WIDTH)
    return random.integers(0, 256, shape, dtype=np.uint8)


def write_images(folder: Path, names: Iterable[str], *, colour: bool = False) -> None:
    """Write images of the names' formats; folders are made."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(path.name, colour=colour)).save(path)


def write_mask(path: Path, rows: slice = slice(0), columns: slice = slice(None)) -> None:
    """Write a PNG mask with a rectangle; an empty one by default."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[rows, columns] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def write_csv(
    path: Path,
    columns: Sequence[str] = COLUMNS,
    rows: Iterable[Sequence[Any]] = ROWS,
    delimiter: str = ",",
) -> None:
    """Write a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [delimiter.join(map(str, row)) for row in (columns, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_team(folder: Path, columns: Sequence[str] = (), cells: Mapping[str, Any] = {}) -> Path:
    """Write the images of ROWS with a `metadata.csv`, and further columns with cells by image."""
    write_images(folder, NAMES)
    blank = ("",) * len(columns)
    rows = [(*row, *cells.get(str(row[0])[0], blank)) for row in ROWS]
    write_csv(folder / "metadata.csv", (*COLUMNS, *columns), rows)
    return folder


def reader(folder: Path, **options: Any) -> Folder:
    """The reader under test."""
    return Folder(folder, FolderOptions(**{"image_size": SIDE, "patient_salt": "salt"} | options))


def refusal(folder: Path, **options: Any) -> str:
    """What reading the index says is wrong."""
    with pytest.raises(DataError) as caught:
        reader(folder, **options).index()
    return str(caught.value)


def facts(source: Folder) -> dict[str, tuple[str, int, tuple[bool | None, ...]]]:
    """Split, label and attributes by image id."""
    entries = source.contents.entries
    return {i: (e.split, e.label, tuple(e.attributes.values())) for i, e in entries.items()}


EXPECTED = {
    str(name)[0]: (str(split), label, (None if ink == "" else bool(ink), bool(ruler)))
    for name, label, ruler, ink, _, split in ROWS
}
"""`facts` of the team's folder: attributes in the order of their names."""

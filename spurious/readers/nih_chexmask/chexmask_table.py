"""Reads masks of organs from a CheXmask table, which is too large to be held in memory.

A row has run-length codes of both lungs and the heart. Starts count from 1, from the image's first
pixel, row by row: the opposite of SIIM-ACR in all three.

Source: Gaggion et al. 2024 (CheXmask), notebook of the release.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.rle import RleConvention, decode

CONVENTION = RleConvention(starts="absolute", base=1, order="rows")
ORGANS = ("Left Lung", "Right Lung", "Heart")
_NAMES = ("Image Index", "image_id", "ImageID", "SOPInstanceUID", "dicom_id", "Path")
"""What the tables of the six sets call an image."""

_DICE = ("Dice RCA (Mean)", "Dice RCA (Max)")
_NEEDED = (*ORGANS, "Height", "Width")


@dataclass(frozen=True)
class Place:
    """Where the row of an image is in the file, and its estimated Dice (None: not stated)."""

    offset: int
    size: int
    line: int
    dice: float | None


class ChexmaskTable:
    """A table whose rows are read when they are needed; it holds a path and no open file.

    Attributes:
        path: The table.
        places: Image to row, of the images that were asked for.
    """

    def __init__(
        self, path: Path, images: Collection[str], organs: Sequence[str], issues: ReaderIssues
    ) -> None:
        """Look through the table once.

        Args:
            path: A CSV of CheXmask.
            images: Names of images that are looked for.
            organs: Which of `ORGANS` are drawn; a row in which one is blank has no mask.
            issues: Receives images with two rows, and rows that cannot be read.

        Raises:
            DataError: Not such a table.
        """
        self.path = path
        self.organs = tuple(organs)
        self.places: dict[str, Place] = {}
        self.header: list[str] = []
        name = ""
        for place, cells in _read_cells(path):
            if not self.header:
                self.header = [cell.strip() for cell in cells]
                name = self._choose_name()
                continue
            row = dict(zip(self.header, cells, strict=False))
            image = row.get(name, "")
            if image not in images:
                continue
            where = f"{path.name} line {place.line}"
            if len(cells) < len(self.header):
                issues.add(f"{where}: {len(cells)} cells instead of {len(self.header)}: cut off")
            elif image in self.places:
                issues.add(f"{where}: second row of {image}; remove one")
            elif all(row[organ].strip() for organ in self.organs):
                self.places[image] = Place(place.offset, place.size, place.line, _read_dice(row))
        if not self.header:
            raise DataError(f"{path.name}: empty; restore the file from the release")

    def read_mask(self, image: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the union of the organs on an image, (H, W) bool.

        Raises:
            DataError: A damaged row, or one of an image of another size.
        """
        place = self.places[image]
        with self.path.open("rb") as file:
            file.seek(place.offset)
            text = file.read(place.size).decode("utf-8")
        cells = next(csv.reader(io.StringIO(text, newline="")))
        row = dict(zip(self.header, cells, strict=False))
        where = f"{self.path.name} line {place.line}, image {image}"
        size = [row[side].removesuffix(".0") for side in ("Height", "Width")]
        if size != [str(side) for side in shape]:
            raise DataError(
                f"{where}: masks of {' x '.join(size)} pixels, and the image has {shape[0]} x "
                f"{shape[1]}; use the table of the images' resolution (OriginalResolution)"
            )
        union = np.zeros(shape, bool)
        for organ in self.organs:
            try:
                mask, _ = decode(row[organ], *shape, CONVENTION)
            except DataError as error:
                raise DataError(f"{where}, {organ}: {error}") from error
            union |= mask
        return union

    def _choose_name(self) -> str:
        missing = [column for column in _NEEDED if column not in self.header]
        names = [column for column in _NAMES if column in self.header]
        if missing or not names:
            lacks = ", ".join(missing) or " or ".join(_NAMES)
            raise DataError(
                f"{self.path.name} line 1: no column {lacks}; expected a table of CheXmask"
            )
        return names[0]


def _read_cells(path: Path) -> Iterator[tuple[Place, list[str]]]:
    """Yield where each row is, and its cells; a row may have line breaks inside quotes."""
    position = 0

    with path.open("rb") as file:

        def lines() -> Iterator[str]:
            nonlocal position
            for line in file:
                position += len(line)
                yield line.decode("utf-8-sig" if position == len(line) else "utf-8")

        reader = csv.reader(lines(), strict=True)
        start, first = 0, 1
        try:
            for cells in reader:
                if cells:
                    yield Place(start, position - start, first, None), cells
                start, first = position, reader.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"{path.name} line {first}: not a CSV line ({error}); restore the file from the "
                "release"
            ) from error


def _read_dice(row: dict[str, str]) -> float | None:
    for column in _DICE:
        try:
            return float(row[column])
        except (KeyError, ValueError):
            continue
    return None

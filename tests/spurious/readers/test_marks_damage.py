"""Damaged files of masks and boxes: refused by name or read, never another exception."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from marks_files import EXPORT, FILM, ROWS, TOP, write_nifti, write_segmentation
from PIL import Image

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.coco import draw_coco
from spurious.readers.marks.coco_files import read_coco
from spurious.readers.marks.dicom_seg import read_segments
from spurious.readers.marks.dicom_seg_header import read_segment_file
from spurious.readers.marks.mask_files import read_mask
from spurious.readers.marks.nifti import read_nifti_mask
from spurious.readers.marks.rle import RleConvention, decode

ODD = (b"-1", b"0", b"1e999", b"9" * 30, b"null", b"[]", b"{}", b'""', b"true", b"NaN", b"-1e308")
"""Values that JSON writers do not write where others belong."""


def draw_all(path: Path) -> None:
    """Read a COCO file as a reader does."""
    issues = ReaderIssues()
    images = read_coco(path, issues)
    issues.raise_if_any(path.name)
    for image in images.values():
        draw_coco(image, 4, 6)


def read_seg(path: Path) -> None:
    """Read header and frames."""
    read_segment_file(path)
    read_segments(path, (5, 7), image=FILM)


def write_all(folder: Path) -> list[tuple[Path, Callable[[Path], object]]]:
    """Write a small file of each format, and name its function."""
    coco = folder / "c.json"
    coco.write_text(json.dumps(EXPORT))
    pictures = []
    for name in ("m.png", "m.bmp", "m.tif"):
        Image.fromarray(np.kron(TOP, np.ones((3, 3))).astype(np.uint8) * 255).save(folder / name)
        pictures.append((folder / name, lambda path: read_mask(path, (15, 21))))
    return [
        (coco, draw_all),
        (write_nifti(folder / "m.nii", ROWS.T), lambda path: read_nifti_mask(path, (2, 3))),
        (write_nifti(folder / "m.nii.gz", ROWS.T), lambda path: read_nifti_mask(path, (2, 3))),
        (write_segmentation(folder / "s.dcm", [(FILM, 1, TOP)]), read_seg),
        *pictures,
    ]


def damage(data: bytes, text: bool, rng: random.Random) -> bytes:
    """Change one value of JSON, or flip, remove, add or cut bytes."""
    if text and rng.random() < 0.8:
        match = rng.choice([*re.finditer(rb'-?[0-9.]+|"[^"]*"|\[[^\[\]]*\]', data)])
        return data[: match.start()] + rng.choice(ODD) + data[match.end() :]
    at, length = rng.randrange(len(data)), rng.randrange(1, 9)
    return rng.choice(
        [
            data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
            data[:at] + rng.randbytes(1) + data[at + 1 :],
            data[:at] + data[at + length :],
            data[:at] + rng.randbytes(length) + data[at:],
            data[:at],
        ]
    )


@pytest.mark.parametrize("number", range(7))
def test_damage_is_refused_by_name_or_harmless(tmp_path: Path, number: int) -> None:
    """120 seeded damages of each format; the file is named in what is refused."""
    path, read = write_all(tmp_path)[number]
    data, rng, refusals = path.read_bytes(), random.Random(number), []
    for _ in range(120):
        path.write_bytes(damage(data, path.suffix == ".json", rng))
        try:
            read(path)
        except DataError as error:
            refusals.append(str(error))
    assert len(refusals) > 40
    assert all(path.name in refusal or "COCO" in refusal for refusal in refusals)


def test_run_lengths_of_any_text_are_refused_or_decoded() -> None:
    """300 seeded codes in each convention."""
    rng = random.Random(0)
    for starts in ("relative", "absolute"):
        for order in ("columns", "rows"):
            convention = RleConvention(starts, rng.choice((0, 1)), order)
            for _ in range(300):
                code = " ".join(
                    rng.choice(("1", "2", "3", "7", "0", "-1", "x", "1e3", str(rng.randrange(50))))
                    for _ in range(rng.randrange(8))
                )
                try:
                    mask, excess = decode(code, 5, 7, convention)
                except DataError:
                    continue
                assert mask.shape == (5, 7)
                assert 0 <= excess <= 7


def test_libraries_of_formats_are_imported_when_they_are_needed() -> None:
    """Reading a spec that names a reader stays light."""
    import spurious.readers.marks as room

    modules = sorted(path.stem for path in Path(str(room.__file__)).parent.glob("[a-z]*.py"))
    imports = ", ".join(f"spurious.readers.marks.{module}" for module in modules)
    heavy = ("pycocotools", "nibabel", "highdicom", "torch", "pandas")
    code = f"import sys, {imports}; print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert len(modules) > 10

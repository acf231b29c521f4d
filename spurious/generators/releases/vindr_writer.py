"""Writes phantom films in the format of VinDr-CXR, with boxes of three readers a film."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.data.randomness import generator
from spurious.generators.releases.dicom_films import save_dicom
from spurious.generators.releases.films import (
    FilmOptions,
    Mask,
    PhantomFilm,
    Progress,
    draw_films,
    find_boxes,
    prepare_folder,
    write_lines,
)

_BITS = 12
_READERS = ("R8", "R9", "R10")
_FINDING, _SPURIOUS, _NONE = "Pneumothorax,12", "Pleural effusion,10", "No finding,14"


def write_vindr_cxr(folder: Path, options: FilmOptions, progress: Progress | None = None) -> None:
    """Write `train/` and `train.csv` of the challenge.

    Films have 12 bits, every other one MONOCHROME1. Three readers look at each film; their boxes
    differ by a few pixels, and the third misses half of the findings. The spurious feature is a
    tube that the table calls a pleural effusion. The table is written last.

    Raises:
        DataError: The folder holds something already.
    """
    prepare_folder(folder)
    rows = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"]
    for film in draw_films(options, progress):
        name = hashlib.md5(film.case.patient_id.encode(), usedforsecurity=False).hexdigest()
        deep = film.pixels.astype(np.uint16) * np.uint16(2 ** (_BITS - 8))
        save_dicom(
            folder / "train" / f"{name}.dicom",
            deep,
            {"PatientSex": "F" if film.case.female else "M", "PatientAge": f"{film.age:03d}Y"},
            uid=film.make_uid(),
            bits=_BITS,
            inverted=bool(film.case.number % 2),
        )
        rows += [f"{name},{row}" for row in _rows(film, options.seed)]
    write_lines(folder / "train.csv", rows)


def _rows(film: PhantomFilm, seed: int) -> list[str]:
    rng = generator(seed, "boxes of readers", film.case.number)
    rows = []
    for place, reader in enumerate(_READERS):
        drawn: list[str] = []
        for finding, mask in ((_FINDING, film.finding), (_SPURIOUS, film.tube())):
            if place < 2 or rng.random() < 0.5:
                drawn += [f"{finding},{reader},{box}" for box in _jitter(rng, mask)]
        rows += drawn or [f"{_NONE},{reader},,,,"]
    return rows


def _jitter(rng: np.random.Generator, mask: Mask) -> list[str]:
    boxes = []
    for x, y, width, height in find_boxes(mask):
        edges: NDArray[np.int64] = np.array([x, y, x + width, y + height])
        edges += rng.integers(-2, 3, 4)
        low, high = edges[:2].clip(0), np.minimum(edges[2:], mask.shape[0])
        boxes.append(",".join(str(edge) for edge in (*low, *np.maximum(high, low + 1))))
    return boxes

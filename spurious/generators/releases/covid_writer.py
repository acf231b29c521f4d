"""Writes phantom films in the format of the COVID-19 Radiography Database."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np

from spurious.generators.releases.films import (
    FilmOptions,
    PhantomFilm,
    Progress,
    draw_films,
    prepare_folder,
    save_png,
)
from spurious.generators.releases.workbook import write_workbook

SIDE, MASK_SIDE = 299, 256
_NEGATIVE = ("Normal", "Lung_Opacity", "Viral Pneumonia")
_SITES = ("https://phantom.invalid/rsna", "https://phantom.invalid/padchest")


def write_covid_radiography(
    folder: Path, options: FilmOptions, progress: Progress | None = None
) -> None:
    """Write the four classes with films, lung masks and workbooks.

    As in the release, films have 299 pixels a side and masks 256 in three channels, and the
    workbook of class Normal spells its films in capitals. Films with the finding are COVID; those
    with a tube are said to come from another site. Workbooks are written last.

    Raises:
        DataError: The folder holds something already.
    """
    prepare_folder(folder)
    counts: Counter[str] = Counter()
    rows: dict[str, list[list[str]]] = defaultdict(list)
    for film in draw_films(options, progress):
        kind = "COVID" if film.case.pneumothorax else _NEGATIVE[film.case.number % 3]
        counts[kind] += 1
        name = f"{kind}-{counts[kind]}"
        image = np.asarray(cv2.resize(film.pixels, (SIDE, SIDE)), np.uint8)
        save_png(folder / kind / "images" / f"{name}.png", image)
        save_png(folder / kind / "masks" / f"{name}.png", _draw_mask(film))
        spelled = name.upper() if kind == "Normal" else name
        rows[kind].append([spelled, "PNG", f"{MASK_SIDE}*{MASK_SIDE}", _SITES[film.case.tube]])
    for kind in ("COVID", *_NEGATIVE):
        table = [["FILE NAME", "FORMAT", "SIZE", "URL"], *rows[kind]]
        write_workbook(folder / f"{kind}.metadata.xlsx", table)


def _draw_mask(film: PhantomFilm) -> np.ndarray:
    lungs = np.logical_or(*film.lungs()).astype(np.uint8) * np.uint8(255)
    small = cv2.resize(lungs, (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_NEAREST)
    return np.repeat(np.asarray(small)[:, :, None], 3, axis=2)

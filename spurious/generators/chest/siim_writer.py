"""Writes a chest phantom as a folder in the format of the SIIM-ACR release."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spurious.data.splits import EVALUATION_SPLITS, SPLITS
from spurious.errors import DataError
from spurious.generators.chest.chest_phantom import Case, ChestPhantom, draw_cases, render_case
from spurious.generators.chest.film_file import FilmHeader, write_film
from spurious.readers.marks import rle
from spurious.readers.siim_acr.siim_files import RLE
from spurious.readers.siim_acr.tube_labels import TubeLabels, write_tube_csv

_ROOT = "1.2.276.0.7230010.3.1"
_STATION = 8323329
_STUDY, _SERIES, _IMAGE = 2, 3, 4


def write_siim_acr(
    folder: Path, config: ChestPhantom, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write `dicom-images-train/`, `train-rle.csv` and `cxr_tube_dict.pkl`, which a reader takes.

    As in the release, a mask has one row per component and tube labels exist for `val` and `test`
    only, each in ascending order of UID. With `tube_labels: all` they are in `cxr_tube_dict.csv`
    instead, since the pickle's order has no room for `train`. The same options give the same
    bytes. The mask table is written last, so an interrupted folder is not taken for a whole one.

    Args:
        folder: Made where absent; must be empty.
        config: Options of the phantom.
        progress: Called with (films written, films in all) after each.

    Raises:
        DataError: The folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty; name a new folder for the phantom")
    folder.mkdir(parents=True, exist_ok=True)
    cases = draw_cases(config)
    rows = ["ImageId, EncodedPixels"]
    for done, case in enumerate(cases, start=1):
        film, mask = render_case(config, case)
        write_film(folder, film, _header(case))
        rows += [f"{image_id(case)}, {code}" for code in _codes(mask)]
        if progress is not None:
            progress(done, len(cases))
    if config.tube_labels == "all":
        write_tube_csv(_tube_labels(cases, SPLITS), folder / "cxr_tube_dict.csv")
    else:
        labels = _tube_labels(cases, EVALUATION_SPLITS).present
        (folder / "cxr_tube_dict.pkl").write_bytes(pickle.dumps(labels, protocol=4))
    (folder / "train-rle.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def image_id(case: Case) -> str:
    """SOPInstanceUID of a case, which is its file stem and its id in both tables."""
    return uid(case, _IMAGE)


def uid(case: Case, kind: int) -> str:
    """UID of a case's study (2), series (3) or image (4), numbered as in the release."""
    process, second, micro = case.uid_tail
    micro += {_STUDY: 0, _SERIES: -1, _IMAGE: 1}[kind]
    return f"{_ROOT}.{kind}.{_STATION}.{process}.{second}.{micro}"


def _codes(mask: NDArray[np.bool_]) -> list[str]:
    labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))
    return [rle.encode(labelled == i + 1, RLE) for i in range(count)] or [rle.NO_MASK]


def _tube_labels(cases: list[Case], splits: Sequence[str]) -> TubeLabels:
    ordered = [
        case
        for split in splits
        for case in sorted(cases, key=lambda case: case.uid_tail)
        if case.split == split
    ]
    return TubeLabels(
        {image_id(case): case.tube for case in ordered},
        {image_id(case): case.split for case in ordered},
    )


def _header(case: Case) -> FilmHeader:
    return FilmHeader(
        study=uid(case, _STUDY),
        series=uid(case, _SERIES),
        image=image_id(case),
        patient_id=case.patient_id,
        female=case.female,
        drawn_by="chest phantom",
    )

"""Writes phantom films in the formats of CheXpert and CheXlocalize."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from spurious.generators.releases.films import (
    FilmOptions,
    Mask,
    PhantomFilm,
    Progress,
    draw_films,
    prepare_folder,
    save_jpeg,
    write_lines,
)

_FINDINGS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices"),
)
_PERSON = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
_FOLDERS = {"train": "train", "val": "valid", "test": "test"}
_TABLES = {"train": "train.csv", "val": "valid.csv", "test": "test_labels.csv"}
_MASKED = ("Pneumothorax", "Support Devices")


def write_chexlocalize(
    folder: Path, options: FilmOptions, progress: Progress | None = None
) -> None:
    """Write `CheXpert/` with films and labels, and `CheXlocalize/` with masks of val and test.

    As in the releases, the test table has no sex, age and view, findings that are not mentioned
    are blank in train, and the files of masks list only films with one. Tubes are support devices.

    Raises:
        DataError: The folder holds something already.
    """
    prepare_folder(folder)
    rows: dict[str, list[str]] = {
        split: [",".join(["Path", *(_PERSON if split != "test" else ()), *_FINDINGS])]
        for split in _FOLDERS
    }
    masks: dict[str, dict[str, Any]] = defaultdict(dict)
    for film in draw_films(options, progress):
        split, number = film.case.split, film.case.number + 1
        path = f"{_FOLDERS[split]}/patient{number:05d}/study1/view1_frontal.jpg"
        save_jpeg(folder / "CheXpert" / path, film.pixels)
        rows[split].append(f"CheXpert-v1.0/{path},{_describe(film)}")
        drawn = dict(zip(_MASKED, (film.finding, film.tube()), strict=True))
        if split != "train" and any(mask.any() for mask in drawn.values()):
            masks[split][f"patient{number:05d}_study1_view1_frontal"] = {
                finding: _encode(mask) for finding, mask in drawn.items()
            }
    for split, held in masks.items():
        name = f"gt_segmentations_{split}.json"
        write_lines(folder / "CheXlocalize" / name, [json.dumps(held)])
    for split, name in _TABLES.items():
        write_lines(folder / "CheXpert" / name, rows[split])


def _describe(film: PhantomFilm) -> str:
    train, test = film.case.split == "train", film.case.split == "test"
    blank = "" if train else "0.0"
    values = dict.fromkeys(_FINDINGS, blank)
    values["Pneumothorax"] = "1.0" if film.case.pneumothorax else "0.0"
    values["Support Devices"] = "1.0" if film.case.tube else blank
    values["Edema"] = "-1.0" if train and film.age % 5 == 0 else blank
    person = ["Female" if film.case.female else "Male", str(film.age), "Frontal", "AP"]
    return ",".join([*([] if test else person), *values.values()])


def _encode(mask: Mask) -> dict[str, Any]:
    from pycocotools import mask as coco

    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": code["counts"].decode("ascii")}

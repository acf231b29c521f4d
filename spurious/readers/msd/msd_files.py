"""Finds the volumes of a task of the Medical Segmentation Decathlon and reads its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from spurious.readers.files import find_files
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import join_rows, name_some
from spurious.readers.marks.json_files import read_json_object
from spurious.readers.tables import read_rows

DESCRIPTION = "dataset.json"
_SUFFIXES = (".nii.gz", ".nii")
_VALUES = {"0": False, "1": True, "": None}


@dataclass(frozen=True)
class Task:
    """A task: volumes with an image and labels, and what `dataset.json` says of it.

    Attributes:
        name: As `dataset.json` has it.
        images: Volume to image.
        labels: Volume to label map.
        classes: Label number to class, without the background.
        modalities: How many modalities an image has.
        left_out: Volumes listed without files, and files that are not listed.
    """

    name: str
    images: Mapping[str, Path]
    labels: Mapping[str, Path]
    classes: Mapping[int, str]
    modalities: int
    left_out: Mapping[str, int]


def read_task(folder: Path, issues: ReaderIssues) -> Task:
    """Join `dataset.json` with `imagesTr/` and `labelsTr/`; `imagesTs/` has no labels.

    Raises:
        DataError: `dataset.json` cannot be read.
    """
    described = read_json_object(folder / DESCRIPTION)
    images, labels = (_find_volumes(folder, inside, issues) for inside in ("imagesTr", "labelsTr"))
    listed = _read_listed(described, issues)
    joined = join_rows(images, listed, DESCRIPTION, issues)
    if missing := [volume for volume in joined if volume not in labels]:
        issues.add(
            f"{len(missing)} volumes have no labelsTr/<volume>.nii.gz ({name_some(missing)}); "
            "unpack the labels again"
        )
    modality = described.get("modality")
    return Task(
        name=str(described.get("name", folder.name)),
        images=joined,
        labels={volume: labels[volume] for volume in joined if volume in labels},
        classes=_read_classes(described, issues),
        modalities=len(modality) if isinstance(modality, dict) and modality else 1,
        left_out={
            "volumes_without_file": len(listed - images.keys()),
            "volumes_not_listed": len(images.keys() - listed),
        },
    )


def read_attributes(
    path: Path, issues: ReaderIssues
) -> tuple[tuple[str, ...], dict[str, dict[str, bool | None]]]:
    """Return the columns of a table beside `volume`, and their values by volume.

    Raises:
        DataError: Not such a table; bad cells go to `issues`.
    """
    names: tuple[str, ...] = ()
    values: dict[str, dict[str, bool | None]] = {}
    for line, cells in read_rows(path, ("volume",), issues):
        names = tuple(name for name in cells if name != "volume")
        wrong = [name for name in names if cells[name] not in _VALUES]
        if wrong:
            issues.add(
                f"{path.name} line {line}: {wrong[0]} is '{cells[wrong[0]][:40]}'; expected 0, 1 "
                "or nothing"
            )
        else:
            values[cells["volume"]] = {name: _VALUES[cells[name]] for name in names}
    return names, values


def _find_volumes(folder: Path, inside: str, issues: ReaderIssues) -> dict[str, Path]:
    """Return the volumes of a folder by name; `._*`, which macOS leaves, are passed over."""
    volumes: dict[str, Path] = {}
    for path in find_files(folder, inside, 0, (".gz", ".nii"), issues):
        name = _name_volume(path.name)
        if name is None:
            continue
        if name in volumes:
            issues.add(
                f"{path.relative_to(folder)}: second file of that volume; the first is "
                f"{volumes[name].relative_to(folder)}: remove one"
            )
        else:
            volumes[name] = path
    if not volumes and not issues.count:
        issues.add(
            f"{folder}: no {inside}/<volume>.nii.gz; point to the folder of one task, such as "
            "Task02_Heart"
        )
    return volumes


def _read_listed(described: Mapping[str, Any], issues: ReaderIssues) -> set[str]:
    """Return the volumes of `training`; paths in it are only compared, never opened."""
    training = described.get("training")
    listed: set[str] = set()
    for entry in training if isinstance(training, list) else []:
        image = entry.get("image") if isinstance(entry, dict) else None
        name = _name_volume(PurePosixPath(str(image)).name)
        if name is None:
            issues.add(f"{DESCRIPTION}: training has '{str(entry)[:80]}'; expected image and label")
        elif not name.startswith("."):
            listed.add(name)
    if not listed and not issues.count:
        issues.add(f"{DESCRIPTION}: no volumes under training; restore it from the release")
    return listed


def _read_classes(described: Mapping[str, Any], issues: ReaderIssues) -> dict[int, str]:
    labels = described.get("labels")
    if not isinstance(labels, dict) or not all(str(key).isdigit() for key in labels):
        issues.add(f"{DESCRIPTION}: labels is not an object of numbers and names")
        return {}
    return {int(key): str(name) for key, name in labels.items() if int(key)}


def _name_volume(file: str) -> str | None:
    for suffix in _SUFFIXES:
        if file.lower().endswith(suffix):
            return file[: -len(suffix)]
    return None

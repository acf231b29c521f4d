"""Writes small volumes in the format of the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from spurious.config.fields import Probability, Seed
from spurious.data.randomness import generator
from spurious.generators.releases.films import prepare_folder, write_lines
from spurious.readers.origin import MARK

_SPACING = 2.0
_BODY, _LESION, _WIRE = 400.0, 120.0, 900.0


@dataclass(frozen=True, kw_only=True)
class VolumeOptions:
    """Options of a small task with phantom volumes: a body, a lesion, and a bright wire.

    Attributes:
        n_volumes: Volumes in all.
        prevalence: Share of volumes with a lesion.
        wire_given_positive, wire_given_negative: Share of volumes with a wire, which is in all of
            their slices.
        size: Voxels of a slice's side.
        depth: Slices of a volume.
        contrast: Of the lesion: 0 invisible, 1 clear.
        seed: Every volume derives from it and the volume's number.
    """

    n_volumes: Annotated[int, Ge(6), Le(2000)] = 40
    prevalence: Probability = 0.5
    wire_given_positive: Probability = 0.8
    wire_given_negative: Probability = 0.2
    size: Annotated[int, Ge(16), Le(512)] = 112
    depth: Annotated[int, Ge(6), Le(512)] = 12
    contrast: Annotated[float, Ge(0.0), Le(5.0)] = 1.0
    seed: Seed = 0


def write_msd(
    folder: Path, options: VolumeOptions, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write `dataset.json`, `imagesTr/`, `labelsTr/` and `attributes.csv`.

    Volumes run from the patient's left to the right, as those of many tasks do, so a reader that
    does not turn them mirrors slices. `attributes.csv`, which no task has, names the volumes with
    a wire, for the reader's option. `dataset.json` is written last.

    Raises:
        DataError: The folder holds something already.
    """
    prepare_folder(folder)
    shown = _draw_groups(options)
    rows, training = ["volume,wire"], []
    for number, (lesion, wire) in enumerate(shown):
        name = f"phantom_{number:03d}"
        image, labels = _draw_volume(options, number, lesion=lesion, wire=wire)
        _save(folder / "imagesTr" / f"{name}.nii.gz", image)
        _save(folder / "labelsTr" / f"{name}.nii.gz", labels)
        rows.append(f"{name},{int(wire)}")
        training.append(
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        )
        if progress is not None:
            progress(number + 1, len(shown))
    described = {
        "name": "Phantom",
        "description": "Phantom volumes, of no patient",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "lesion"},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
    }
    write_lines(folder / "attributes.csv", rows)
    write_lines(folder / "dataset.json", [json.dumps(described, indent=1)])


def _draw_groups(options: VolumeOptions) -> list[tuple[bool, bool]]:
    """Return (lesion, wire) of every volume; the shares are met exactly, and shuffled."""
    positives = round(options.n_volumes * options.prevalence)
    groups: list[tuple[bool, bool]] = []
    for lesion, count, share in (
        (True, positives, options.wire_given_positive),
        (False, options.n_volumes - positives, options.wire_given_negative),
    ):
        groups += [(lesion, place < round(count * share)) for place in range(count)]
    order = generator(options.seed, "volumes").permutation(len(groups)).tolist()
    return [groups[place] for place in order]


def _draw_volume(
    options: VolumeOptions, number: int, *, lesion: bool, wire: bool
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return (X, Y, Z) values and labels, RAS+."""
    rng, size, depth = generator(options.seed, "volume", number), options.size, options.depth
    x, y, z = np.ogrid[:size, :size, :depth]
    middle = size / 2 + rng.uniform(-0.04, 0.04, 2) * size
    body = ((x - middle[0]) / (0.42 * size)) ** 2 + ((y - middle[1]) / (0.36 * size)) ** 2 < 1
    values = np.where(body, _BODY, 20.0) + np.zeros((1, 1, depth))
    values += rng.normal(0, 25, (size, size, depth))
    place = middle + rng.uniform(-0.15, 0.15, 2) * size
    level, radius = rng.uniform(0.35, 0.65) * depth, rng.uniform(0.08, 0.14) * size
    drawn = (
        ((x - place[0]) / radius) ** 2
        + ((y - place[1]) / radius) ** 2
        + ((z - level) / (0.25 * depth)) ** 2
    ) < 1
    if lesion:
        values += drawn * _LESION * options.contrast
    if wire:
        column = round(middle[0] + rng.uniform(0.2, 0.3) * size)
        values[column : column + 2, round(middle[1]), :] = _WIRE
    labels = drawn.astype(np.uint8) if lesion else np.zeros(drawn.shape, np.uint8)
    return values.round().astype(np.int16), labels


def _save(path: Path, values: NDArray[np.int16] | NDArray[np.uint8]) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.ascontiguousarray(values[::-1])  # from left to right
    affine = np.diag([-_SPACING, _SPACING, _SPACING, 1.0])
    affine[0, 3] = _SPACING * (values.shape[0] - 1)
    image = nibabel.Nifti1Image(stored, affine)
    image.header.set_sform(affine, code=1)
    image.header["descrip"] = f"{MARK} volume phantom"
    nibabel.save(image, path)

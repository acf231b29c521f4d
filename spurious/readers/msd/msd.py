"""Medical Segmentation Decathlon: volumes of one task as slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.config.release_fields import parse_names
from spurious.config.releases import MsdOptions
from spurious.data.outlines import measure_outline
from spurious.data.records import Record
from spurious.data.specificity import count_components
from spurious.errors import DataError
from spurious.readers.base import FolderReader, Index, absolute_path, name_and_hash
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.nifti import Volume, check_labels, read_nifti, take_slice
from spurious.readers.msd.msd_files import DESCRIPTION, Task, read_attributes, read_task
from spurious.readers.msd.slices import (
    AXES,
    Slice,
    balance_slices,
    find_classes,
    find_limits,
    list_slices,
    scale_slice,
)
from spurious.readers.resize import shrink_image, shrink_mask
from spurious.readers.split_draw import draw_splits


@dataclass(frozen=True, kw_only=True)
class MsdIndex(Index):
    """Slices that are taken, and their volumes."""

    task: Task
    classes: tuple[int, ...]
    slices: Mapping[str, Slice]
    splits: Mapping[str, str]
    attributes: Mapping[str, Mapping[str, bool | None]]


@dataclass(frozen=True, eq=False)
class _Held:
    """The volume that was read last: slices follow each other, and a volume takes a second."""

    name: str
    image: Volume
    labels: Volume
    limits: tuple[float, float]


class Msd(FolderReader[MsdOptions, MsdIndex]):
    """One task as a record source: NIfTI volumes, turned by their affine, cut to slices.

    Folder: `dataset.json`, `imagesTr/<volume>.nii.gz`, `labelsTr/<volume>.nii.gz`.

    - A record is a slice. Label 1: at least `min_voxels` voxels of it are of a `positive` class.
      Slices with fewer, but some, are left out.
    - `patient_id` is the volume, and splits are drawn by volume.
    - `balanced` takes as many negative slices of a split as positive ones; `all` takes all.
    - Values become 8 bits by a window over the whole volume.
    - The release has no spurious attributes. A table of the option `attributes` has a column
      `volume` and one for each attribute, with 0, 1 or nothing.
    """

    name = "msd"

    def __init__(self, folder: Path, options: MsdOptions) -> None:
        super().__init__(folder, options)
        self.table = absolute_path(options.attributes)
        self.axis = AXES[options.axis]
        self._held: _Held | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the volume that was read last out of the copy for workers."""
        return {**self.__dict__, "_held": None}

    @property
    def attribute_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the table."""
        attributes = self.contents.attributes
        return tuple(next(iter(attributes.values()), {}))

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Cut, shrink and return one slice; image (size, size, 1) uint8.

        Raises:
            DataError: Unreadable volume, or labels of another shape.
        """
        contents, side = self.contents, self.options.image_size
        place = contents.slices[sample_id]
        held = self._read_volume(place.volume, path)
        labels = take_slice(held.labels, place.position, self.axis)
        mask = np.isin(labels, list(contents.classes))
        pixels = scale_slice(take_slice(held.image, place.position, self.axis), held.limits)
        return Record(
            sample_id=sample_id,
            patient_id=place.volume,
            split=contents.splits[place.volume],
            label=place.label,
            image=shrink_image(pixels, side, side)[:, :, None],
            mask=shrink_mask(mask, side, side),
            abnormalities=count_components(mask),
            attributes=contents.attributes[place.volume],
            covariates={"slice": float(place.position)},
            outline=measure_outline(mask),
        )

    def read_index(self, issues: ReaderIssues) -> MsdIndex:
        """Join volumes and labels, and list slices, for which all label maps are read."""
        options, size = self.options, self.options.image_size
        try:
            task = read_task(self.folder, issues)
            classes = self._choose_classes(task, issues)
            attributes = self._read_attributes(task, issues)
        except DataError as error:
            issues.add(str(error))
            issues.raise_if_any(self.name)
            raise
        issues.raise_if_any(self.name)
        slices = self._list_slices(task, classes, issues)
        issues.raise_if_any(self.name)
        positive = {place.volume for place in slices.values() if place.label}
        splits = draw_splits(
            {volume: volume for volume in task.images},
            {volume: (int(volume in positive),) for volume in task.images},
            options,
        )
        taken = slices
        if options.slices == "balanced":
            taken = balance_slices(slices, splits, options.seed)
        shown = ", ".join(task.classes[number] for number in classes)
        tables = {} if self.table is None else {"attributes": name_and_hash(self.table)}
        return MsdIndex(
            images={name: task.images[taken[name].volume] for name in sorted(taken)},
            origin={
                "format": f"Medical Segmentation Decathlon, {task.name}",
                "positive": shown,
                "split": f"drawn {options.split} by volume, seed {options.seed}",
                "slices": f"{options.axis}, {options.slices}, positive from "
                f"{options.min_voxels} voxels",
                "image": f"window {options.window} of the volume, area-averaged to {size}, aspect "
                "not kept",
                "mask": f"{shown}, max-pooled to {size}",
                "description": name_and_hash(self.folder / DESCRIPTION),
                **tables,
            },
            left_out={**task.left_out, "slices_beyond_balance": len(slices) - len(taken)},
            task=task,
            classes=classes,
            slices=taken,
            splits=splits,
            attributes=attributes,
        )

    def _choose_classes(self, task: Task, issues: ReaderIssues) -> tuple[int, ...]:
        """Return the label numbers that count: those of the named classes, or all."""
        names = parse_names(self.options.positive)
        chosen = tuple(number for number, name in task.classes.items() if name in names)
        unknown = [name for name in names if name not in task.classes.values()]
        if unknown:
            known = ", ".join(task.classes.values())
            issues.add(f"positive: no class is called '{unknown[0]}'; expected some of {known}")
        return chosen if names else tuple(task.classes)

    def _read_attributes(
        self, task: Task, issues: ReaderIssues
    ) -> dict[str, dict[str, bool | None]]:
        """Return the attributes of every volume; all are unknown of one that the table lacks."""
        if self.table is None:
            return {volume: {} for volume in task.images}
        names, values = read_attributes(self.table, issues)
        blank: dict[str, bool | None] = dict.fromkeys(names)
        return {volume: values.get(volume, blank) for volume in task.images}

    def _list_slices(
        self, task: Task, classes: tuple[int, ...], issues: ReaderIssues
    ) -> dict[str, Slice]:
        slices: dict[str, Slice] = {}
        for volume, path in task.labels.items():
            try:
                labels = find_classes(read_nifti(path), classes)
            except DataError as error:
                issues.add(str(error))
                continue
            slices |= list_slices(volume, labels, self.axis, self.options.min_voxels)
        return slices

    def _read_volume(self, name: str, path: Path) -> _Held:
        """Return a volume with its labels and window; the last one is kept."""
        if self._held is None or self._held.name != name:
            task = self.contents.task
            image = read_nifti(path, self.options.modality if task.modalities > 1 else None)
            labels = read_nifti(task.labels[name])
            check_labels(labels.values)
            if image.values.shape != labels.values.shape:
                raise DataError(
                    f"{task.labels[name]}: {_shape(labels.values)} voxels, and its image has "
                    f"{_shape(image.values)}; restore both from the release"
                )
            limits = find_limits(image.values, self.options.window)
            self._held = _Held(name, image, labels, limits)
        return self._held


def _shape(values: NDArray[Any]) -> str:
    return " x ".join(str(side) for side in values.shape)

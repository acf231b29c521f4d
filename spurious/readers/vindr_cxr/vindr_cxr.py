"""VinDr-CXR: films with boxes that 17 radiologists drew, three on each film of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.config.release_fields import name_attribute, parse_names
from spurious.config.releases import VindrCxrOptions
from spurious.data.records import Record
from spurious.errors import DataError
from spurious.readers.base import FolderReader, Index, name_and_hash
from spurious.readers.dicom import read_film
from spurious.readers.dicom_tags import describe_patient
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import join_rows, name_some
from spurious.readers.pick_files import find_named, find_table
from spurious.readers.resize import shrink_image
from spurious.readers.split_draw import draw_splits
from spurious.readers.staged_boxes import fit_boxes
from spurious.readers.vindr_cxr.vindr_tables import Reading, read_readings

IMAGES = "train"
TABLES = ("train.csv", "annotations/annotations_train.csv")
"""Of the challenge, and of PhysioNet."""


@dataclass(frozen=True, kw_only=True)
class VindrIndex(Index):
    """Films that have a file and rows."""

    boxes: Mapping[str, NDArray[np.float64]]
    attributes: Mapping[str, Mapping[str, bool]]
    splits: Mapping[str, str]
    table: str


class VindrCxr(FolderReader[VindrCxrOptions, VindrIndex]):
    """The training films as a record source: DICOM films, boxes of several readers, no masks.

    Folder: `train/<film>.dicom` and `train.csv` (`annotations/annotations_train.csv` of PhysioNet).

    - Boxes of one finding are fused (`spurious.readers.marks.box_fusion`): the two that overlap
      most are joined until none overlaps by `overlap`; a fused box is kept where at least
      `min_readers` radiologists have a box in it, and is the mean of its boxes.
    - Label 1 is a film with a kept box of a `positive` finding. Films on which fewer radiologists
      drew one are `disputed`. All others were looked at, so their boxes are empty.
    - An attribute is a finding that at least `min_readers` radiologists drew, wherever.
    - `mask` is None: nobody drew one. Covariates: sex, age and view of the header.
    - `patient_id` is the film's id; the release names no patients.
    """

    name = "vindr-cxr"
    partial = True

    def __init__(self, folder: Path, options: VindrCxrOptions) -> None:
        super().__init__(folder, options)
        self.positive = parse_names(options.positive)
        self.findings = {name_attribute(name): name for name in parse_names(options.attributes)}
        self.attribute_names = tuple(self.findings)

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 1) uint8.

        Raises:
            DataError: Unreadable file, or a box outside of it.
        """
        contents, side = self.contents, self.options.image_size
        boxes, pixels = contents.boxes[sample_id], read_film(path).pixels
        return Record(
            sample_id=sample_id,
            patient_id=sample_id,
            split=contents.splits[sample_id],
            label=int(len(boxes) > 0),
            image=shrink_image(pixels, side, side)[:, :, None],
            mask=None,
            abnormalities=len(boxes),
            attributes=contents.attributes[sample_id],
            boxes=fit_boxes(list(boxes), pixels.shape, side, f"{contents.table}, film {sample_id}"),
            covariates=describe_patient(path),
        )

    def read_index(self, issues: ReaderIssues) -> VindrIndex:
        """Join films and boxes, and fuse these."""
        example = f"{IMAGES}/<film>.dicom"
        paths = find_named(self.folder, [(IMAGES, 0)], (".dicom", ".dcm"), issues, example=example)
        readings: dict[str, Reading] = {}
        table = self.folder / TABLES[0]
        try:
            table = find_table(self.folder, None, TABLES, "")
            readings = read_readings(table, issues)
        except DataError as error:
            issues.add(str(error))
        images = join_rows(paths, readings, table.name, issues)
        self._check_findings(readings, issues)
        issues.raise_if_any(self.name)
        options = self.options
        joined = len(images)
        boxes = {film: self._fuse(readings[film]) for film in images}
        disputed = [
            film
            for film, fused in boxes.items()
            if not len(fused) and readings[film].readers_of(self.positive)
        ]
        if options.disputed == "leave-out":
            images = {film: path for film, path in images.items() if film not in set(disputed)}
        attributes = {film: self._attributes(readings[film]) for film in images}
        strata = {
            film: (int(len(boxes[film]) > 0), *map(int, attributes[film].values()))
            for film in images
        }
        return VindrIndex(
            images=images,
            origin={
                **self._describe(),
                "disputed": f"{len(disputed)} films, {options.disputed}",
                "box_table": name_and_hash(table),
            },
            left_out={
                "images_without_row": len(paths) - joined,
                "rows_without_image": len(readings) - joined,
                "disputed_images": joined - len(images),
            },
            boxes=boxes,
            attributes=attributes,
            splits=draw_splits({film: film for film in images}, strata, options),
            table=table.name,
        )

    def _describe(self) -> dict[str, str]:
        """Return what options do to films and boxes."""
        options, size = self.options, self.options.image_size
        return {
            "format": "VinDr-CXR, training",
            "positive": ", ".join(self.positive),
            "split": f"drawn {options.split} by film, label and attributes, seed {options.seed}",
            "image": f"area-averaged to {size}, scaled by BitsStored, no window",
            "mask": "not drawn",
            "boxes": f"of {options.min_readers} readers or more, fused from an overlap of "
            f"{options.overlap:g}, scaled outwards to {size}",
            "patients": "not known; every film counts as one",
        }

    def _check_findings(self, readings: Mapping[str, Reading], issues: ReaderIssues) -> None:
        """Report options that name a finding which no film has."""
        known = {finding for reading in readings.values() for finding in reading.boxes}
        for option, names in (
            ("positive", self.positive),
            ("attributes", self.findings.values()),
        ):
            for name in names:
                if known and name not in known:
                    issues.add(
                        f"{option}: no film has the finding '{name}'; expected some of "
                        f"{name_some(known)}"
                    )

    def _fuse(self, reading: Reading) -> NDArray[np.float64]:
        fused = [
            reading.fuse(finding, self.options.min_readers, self.options.overlap)
            for finding in self.positive
        ]
        return np.concatenate(fused)

    def _attributes(self, reading: Reading) -> dict[str, bool]:
        return {
            attribute: len(reading.readers_of([finding])) >= self.options.min_readers
            for attribute, finding in self.findings.items()
        }

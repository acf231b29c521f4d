"""SIIM-ACR Pneumothorax Segmentation, with the tube labels and split of Saab et al. 2022."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.config.datasets import SiimAcrOptions
from spurious.data.outlines import measure_outline
from spurious.data.records import Record
from spurious.data.specificity import count_components
from spurious.errors import DataError
from spurious.readers.base import FolderReader, Index, absolute_path, name_and_hash
from spurious.readers.dicom import Film, read_film, read_row_count
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks import rle
from spurious.readers.marks.rle_checks import check_starts
from spurious.readers.resize import shrink_image, shrink_mask
from spurious.readers.siim_acr.mask_table_checks import find_odd_shapes
from spurious.readers.siim_acr.siim_files import (
    MASK_TABLES,
    RLE,
    TUBE_LABELS,
    MaskRow,
    check_join,
    find_images,
    find_one,
    read_masks,
)
from spurious.readers.siim_acr.tube_labels import TubeLabels, is_uid, read_tube_labels

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SiimIndex(Index):
    """Images that have a file and a row of the mask table, with both tables."""

    masks: Mapping[str, tuple[MaskRow, ...]]
    tubes: TubeLabels
    mask_table: str


class SiimAcr(FolderReader[SiimAcrOptions, SiimIndex]):
    """The stage-1 release as a record source: DICOM images, run-length masks, tube labels.

    Folder: `dicom-images-train/<study>/<series>/<image>.dcm`, `train-rle.csv` (or
    `stage_2_train.csv`), `cxr_tube_dict.pkl` (or `.csv`, see `tube_labels`).

    - `sample_id` is the file stem, by which both tables name an image. A stem in UID form must be
      the SOPInstanceUID of the header, since otherwise a mask would be laid on another film; any
      other stem is a renamed file and stands for itself.
    - `patient_id` is PatientID, the only identity that the anonymised release keeps (each study
      has one of its own). Without one it is StudyInstanceUID, which cannot show that two studies
      are of one person, and last the study's folder.
    - Split: `val` and `test` by the tube labels (see `split_by_order`), every other labelled image
      is `train`, whose tubes nobody labelled in the release; they go with pneumothorax
      (`declared_directions`). Own labels of training images come as a CSV with a column `split`.
    - Images without a row in the mask table are left out, as nobody annotated them.
    - Label 1 means a non-empty mask. `abnormalities` counts the components of the native mask,
      which is what an annotator draws, whatever the staged size.
    - The staged image is a square, so native images must be; the release has 1024 x 1024.
    """

    name = "siim-acr"
    attribute_names = ("tube",)
    declared_directions: Mapping[str, int] = {"tube": +1}

    def __init__(self, folder: Path, options: SiimAcrOptions) -> None:
        super().__init__(folder, options)
        self.tubes, self.rle = absolute_path(options.tubes), absolute_path(options.rle)

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 1) uint8.

        Raises:
            DataError: Unreadable file or a mask of another size.
        """
        tubes = self.contents.tubes
        film = read_film(path)
        self._check(film, path)
        mask = self._mask(sample_id, film)
        side = self.options.image_size
        return Record(
            sample_id=sample_id,
            patient_id=film.patient_id or film.study_uid or path.parent.parent.name,
            split=tubes.splits.get(sample_id, "train"),
            label=int(mask.any()),
            image=shrink_image(film.pixels, side, side)[:, :, None],
            mask=shrink_mask(mask, side, side),
            abnormalities=count_components(mask),
            attributes={"tube": tubes.present.get(sample_id)},
            outline=measure_outline(mask),
        )

    def read_index(self, issues: ReaderIssues) -> SiimIndex:
        """Join films, mask table and tube labels."""
        size = self.options.image_size
        images = find_images(self.folder, issues)
        mask_table, masks = self._read_mask_table(issues)
        tube_file, tubes = self._read_tubes(issues)
        if not issues.count:
            check_join(images, masks, tubes.splits, (mask_table.name, tube_file.name), issues)
        issues.raise_if_any(self.name)
        labelled = {image: images[image] for image in sorted(images.keys() & masks.keys())}
        self._check_codes(labelled, masks, mask_table, issues)
        return SiimIndex(
            images=labelled,
            origin={
                "format": "SIIM-ACR Pneumothorax Segmentation, stage 1",
                "split": tubes.split_from,
                "image": f"area-averaged to {size}, scaled by BitsStored, no window",
                "mask": f"union of rows, max-pooled to {size}",
                "mask_table": name_and_hash(mask_table),
                "tube_labels": name_and_hash(tube_file),
            },
            left_out={
                "images_without_row": len(images) - len(labelled),
                "rows_without_image": len(masks) - len(labelled),
                "tube_labels_without_image": len(tubes.present.keys() - images.keys()),
            },
            masks=masks,
            tubes=tubes,
            mask_table=mask_table.name,
        )

    def _check_codes(
        self,
        labelled: Mapping[str, Path],
        masks: Mapping[str, tuple[MaskRow, ...]],
        table: Path,
        issues: ReaderIssues,
    ) -> None:
        """Refuse or warn of a table of another convention, as far as its masks show together."""
        held = sorted((row.line, row.code) for image in labelled for row in masks[image])
        before = issues.count
        check_starts(held, RLE, table.name, "convert the codes", issues)
        if issues.count > before:
            return
        codes = [code for _, code in held]
        for odd in find_odd_shapes(codes, read_row_count(labelled.values())):
            logger.warning("%s: %s; compare some masks with their films", table.name, odd)

    def _read_mask_table(
        self, issues: ReaderIssues
    ) -> tuple[Path, Mapping[str, tuple[MaskRow, ...]]]:
        try:
            path = find_one(self.folder, self.rle, MASK_TABLES, "rle")
            return path, read_masks(path, issues)
        except DataError as error:
            issues.add(str(error))
            return self.folder, {}

    def _read_tubes(self, issues: ReaderIssues) -> tuple[Path, TubeLabels]:
        try:
            path = find_one(self.folder, self.tubes, TUBE_LABELS, "tubes")
            return path, read_tube_labels(path, issues)
        except DataError as error:
            issues.add(str(error))
            return self.folder, TubeLabels({}, {})

    def _check(self, film: Film, path: Path) -> None:
        height, width = film.pixels.shape
        if is_uid(path.stem) and film.sop_uid not in ("", path.stem):
            raise DataError(
                f"{path}: holds image {film.sop_uid}, not the one it is named after; "
                "restore the file from the release"
            )
        size = self.options.image_size
        if height != width or height < size:
            raise DataError(
                f"{path}: {height} x {width} pixels; expected a square of {size} or "
                "more (the release has 1024 x 1024): restore the file or choose a smaller size"
            )

    def _mask(self, sample_id: str, film: Film) -> NDArray[np.bool_]:
        """Union of the image's rows at native size, (H, W) bool."""
        height, width = film.pixels.shape
        union: NDArray[np.bool_] | None = None
        for row in self.contents.masks[sample_id]:
            where = f"{self.contents.mask_table} line {row.line}"
            try:
                mask, excess = rle.decode(row.code, height, width, RLE)
            except DataError as error:
                raise DataError(f"{where}, image {sample_id}: {error}") from error
            if excess:
                logger.warning(
                    "%s: last run goes %d pixels past image %s; clipped", where, excess, sample_id
                )
            union = mask if union is None else union | mask
        return np.zeros((height, width), bool) if union is None else union

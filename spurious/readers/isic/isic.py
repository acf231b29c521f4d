"""ISIC 2018 task 1, with the labels, artefacts and trap splits of Bissoto et al. 2020."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.config.datasets import IsicOptions
from spurious.data.outlines import measure_outline
from spurious.data.records import Record
from spurious.data.specificity import count_components
from spurious.data.splits import SPLITS
from spurious.errors import DataError
from spurious.readers.base import FolderReader, Index, absolute_path, name_and_hash
from spurious.readers.isic.isic_files import (
    ATTRIBUTES,
    IMAGE_FOLDER,
    MASK_FOLDER,
    MASK_SUFFIX,
    Row,
    check_join,
    find_pictures,
    read_traps,
    table_name,
)
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.inversion import check_inversion, looks_inverted
from spurious.readers.pictures import read_picture
from spurious.readers.resize import shrink_image, shrink_mask

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class IsicIndex(Index):
    """Images that have a picture, a mask and a row of the tables."""

    masks: Mapping[str, Path]
    rows: Mapping[str, Row]


class Isic(FolderReader[IsicOptions, IsicIndex]):
    """The release as a record source: JPEG images, PNG masks, CSV tables of one trap split.

    Folder: `ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg`,
    `ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png` (0 and 255), and
    `isic_annotated_{train,val,test}1.csv` up to 5, which Bissoto et al. released apart.

    - Label 1 is a malignant lesion. Labels and the seven artefacts are the tables' own; task 1 has
      none. All artefacts are annotated on all images, so their directions are measured on train.
    - Split: that of the tables, with the images of `val` taken out of `train`, where the release
      has them, too. A trap split amplifies how artefacts go with the label in `train` and `val`
      and turns it round in `test`.
    - `patient_id` is the image's id: task 1 names no patients, so nothing shows whether two images
      are of one person.
    - The mask is the lesion, of benign images too (`dataset.Record`), and `abnormalities`
      counts the components of the native mask, which is what an annotator draws. What a trial
      trains on and is priced by is up to its option `negatives`.
    - The staged image is a square, whatever the native sides, as in the code of Saab et al. 2022:
      the aspect is not kept.
    - Images without a row in the tables are left out, as nobody labelled them.
    """

    name = "isic"
    attribute_names = ATTRIBUTES

    def __init__(self, folder: Path, options: IsicOptions) -> None:
        super().__init__(folder, options)
        self.traps = absolute_path(options.traps) or self.folder

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 3) uint8, RGB.

        Raises:
            DataError: Unreadable file, or a mask that does not fit.
        """
        row, side = self.contents.rows[sample_id], self.options.image_size
        image = read_picture(path, "JPEG", "RGB")
        height, width = image.shape[:2]
        if min(height, width) < side:
            raise DataError(
                f"{path}: {height} x {width} pixels; expected sides of {side} or more: restore the "
                "file from the release or choose a smaller size"
            )
        mask = _read_mask(self.contents.masks[sample_id], (height, width))
        if looks_inverted(mask):
            _log.warning(
                "%s: the lesion is %.0f %% of the picture and all around its border, as where a "
                "mask is inverted; look at it, and where it is, invert it",
                self.contents.masks[sample_id],
                100 * mask.mean(),
            )
        return Record(
            sample_id=sample_id,
            patient_id=sample_id,
            split=row.split,
            label=row.label,
            image=shrink_image(image, side, side),
            mask=shrink_mask(mask, side, side),
            abnormalities=count_components(mask),
            attributes=row.artefacts,
            outline=measure_outline(mask),
        )

    def image_files(self, sample_id: str) -> Sequence[Path]:
        """Return the picture and the mask."""
        return (self.image_path(sample_id), self.contents.masks[sample_id])

    def read_index(self, issues: ReaderIssues) -> IsicIndex:
        """Join pictures, masks and the tables of one trap split."""
        trap, size = self.options.split, self.options.image_size
        images = find_pictures(self.folder, IMAGE_FOLDER, (".jpg", ".jpeg"), "", issues)
        masks = find_pictures(self.folder, MASK_FOLDER, (".png",), MASK_SUFFIX, issues)
        rows = read_traps(self.traps, trap, issues)
        if not issues.count:
            check_join(images, masks, rows, trap, issues)
        issues.raise_if_any(self.name)
        labelled = {image: images[image] for image in sorted(images.keys() & rows.keys())}
        check_inversion([masks[image] for image in labelled], _read_lesion, "lesions", issues)
        tables = {
            f"{split}_table": name_and_hash(self.traps / table_name(split, trap))
            for split in SPLITS
        }
        return IsicIndex(
            images=labelled,
            origin={
                "format": "ISIC 2018 task 1, training",
                "split": f"trap split {trap} of Bissoto et al. 2020, val taken out of train",
                "image": f"RGB, area-averaged to {size}, aspect not kept",
                "mask": f"lesions of both labels, max-pooled to {size}",
                "patients": "not known; every image counts as one",
                **tables,
            },
            left_out={
                "images_without_row": len(images) - len(labelled),
                "rows_without_image": len(rows) - len(labelled),
            },
            masks={image: masks[image] for image in labelled},
            rows=rows,
        )


def _read_lesion(path: Path) -> NDArray[np.bool_]:
    return np.asarray(read_picture(path, "PNG", "L", "1") != 0)


def _read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the lesion at native size, (H, W) bool."""
    values = read_picture(path, "PNG", "L", "1")
    if values.shape != shape:
        raise DataError(
            f"{path}: {values.shape[0]} x {values.shape[1]} pixels, and its image has {shape[0]} x "
            f"{shape[1]}; restore both from the release"
        )
    mask: NDArray[np.bool_] = values != 0
    if values.dtype == np.uint8 and (odd := values[mask & (values != 255)]).size:
        raise DataError(
            f"{path}: {odd.size} pixels are neither 0 nor 255 (e.g. {odd[0]}); restore the mask "
            "from the release"
        )
    if not mask.any():
        raise DataError(f"{path}: no lesion in it; every image of task 1 has one")
    return mask

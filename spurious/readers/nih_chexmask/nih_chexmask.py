"""NIH ChestX-ray14 with the lung masks of CheXmask, and the view as spurious attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.config.releases import NihChexmaskOptions
from spurious.data.outlines import measure_outline
from spurious.data.records import Record
from spurious.data.specificity import count_components
from spurious.errors import DataError
from spurious.readers.base import FolderReader, Index, absolute_path, name_and_hash
from spurious.readers.grey_films import read_grey
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import join_rows, name_some
from spurious.readers.nih import nih_files
from spurious.readers.nih_chexmask.chexmask_table import ORGANS, ChexmaskTable
from spurious.readers.nih_chexmask.nih_splits import assign_splits
from spurious.readers.pick_files import find_table
from spurious.readers.resize import shrink_image, shrink_mask
from spurious.readers.staged_boxes import fit_boxes

TABLES = ("ChestX-Ray8.csv", "OriginalResolution/ChestX-Ray8.csv")


@dataclass(frozen=True, kw_only=True)
class ChexmaskIndex(Index):
    """Films with a row of the table of findings; masks and boxes of those that have some."""

    rows: Mapping[str, nih_files.NihRow]
    masks: ChexmaskTable
    boxes: Mapping[str, list[NDArray[np.float64]]]
    splits: Mapping[str, str]


class NihChexmask(FolderReader[NihChexmaskOptions, ChexmaskIndex]):
    """ChestX-ray14 as a record source, with masks of the lungs or the heart by CheXmask.

    Folder: `Data_Entry_2017_v2020.csv`, `images/*.png` (or `images_001/images/` to
    `images_012/images/`), `ChestX-Ray8.csv` of CheXmask, and, where they are there,
    `train_val_list.txt`, `test_list.txt` and `BBox_List_2017.csv`.

    - Label 1 is a film with the finding.
    - The mask is a **region** (`mask: lungs` of the provenance), drawn by a model on films of
      either label, not the abnormality. It is None where CheXmask has no row of the film, or
      estimates a Dice below `min_dice`.
    - With `boxes`, films that were boxed for the finding have their boxes; of all others nobody
      drew any.
    - Attribute `ap`: the view is AP (bedside).
    - Split: `test` by `test_list.txt`; `val` is drawn by patient from the others. Without the two
      lists all three are drawn.
    """

    name = "nih-chexmask"
    attribute_names = ("ap",)
    declared_directions: Mapping[str, int] = {"ap": +1}
    partial = True

    def __init__(self, folder: Path, options: NihChexmaskOptions) -> None:
        super().__init__(folder, options)
        self.masks = absolute_path(options.masks)
        self.organs = ORGANS[:2] if options.region == "lungs" else ORGANS[2:]

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 1) uint8.

        Raises:
            DataError: Unreadable file, or a mask of another size.
        """
        contents, side = self.contents, self.options.image_size
        row, pixels = contents.rows[sample_id], read_grey(path)
        mask = self._read_mask(sample_id, pixels.shape)
        drawn = contents.boxes.get(sample_id)
        boxes = None
        if drawn is not None:
            boxes = fit_boxes(drawn, pixels.shape, side, f"{nih_files.BOXES}, {sample_id}")
        regions = 0 if mask is None else count_components(mask)
        return Record(
            sample_id=sample_id,
            patient_id=row.patient,
            split=contents.splits[sample_id],
            label=self._label(row),
            image=shrink_image(pixels, side, side)[:, :, None],
            mask=None if mask is None else shrink_mask(mask, side, side),
            abnormalities=regions if boxes is None or mask is not None else len(boxes),
            attributes={"ap": row.view == "AP" if row.view in ("AP", "PA") else None},
            boxes=boxes,
            covariates=row.covariates,
            outline=None if mask is None else measure_outline(mask),
        )

    def read_index(self, issues: ReaderIssues) -> ChexmaskIndex:
        """Join films, findings, masks, boxes and lists."""
        options, size = self.options, self.options.image_size
        tables: dict[str, Path] = {}
        paths = nih_files.find_films(self.folder, issues)
        try:
            tables["table"] = find_table(self.folder, None, nih_files.TABLES, "")
            rows = nih_files.read_findings(tables["table"], issues)
            images = join_rows(paths, rows, tables["table"].name, issues)
            tables["masks"] = find_table(self.folder, self.masks, TABLES, "masks")
            masks = ChexmaskTable(tables["masks"], images, self.organs, issues)
            boxes = self._read_boxes(tables, issues)
        except DataError as error:
            issues.add(str(error))
            issues.raise_if_any(self.name)
            raise
        self._check_positive(rows, issues)
        issues.raise_if_any(self.name)
        usable = sum(self._is_usable(masks, film) for film in images)
        splits, source = assign_splits(
            self.folder,
            {film: rows[film].patient for film in images},
            {film: (self._label(rows[film]), int(rows[film].view == "AP")) for film in images},
            options,
        )
        return ChexmaskIndex(
            images=images,
            origin={
                "format": "NIH ChestX-ray14 with CheXmask",
                "positive": options.positive,
                "split": source,
                "image": f"area-averaged to {size}",
                "mask": options.region,
                "mask_files": f"run lengths of an estimated Dice of {options.min_dice:g} or more, "
                f"max-pooled to {size}",
                "films_without_mask": str(len(images) - usable),
                "films_with_boxes": str(sum(film in boxes for film in images)),
                **{name: name_and_hash(path) for name, path in tables.items()},
            },
            left_out={
                "images_without_row": len(paths) - len(images),
                "rows_without_image": len(rows) - len(images),
            },
            rows={film: rows[film] for film in images},
            masks=masks,
            boxes=boxes,
            splits=splits,
        )

    def _check_positive(self, rows: Mapping[str, nih_files.NihRow], issues: ReaderIssues) -> None:
        known = {finding for row in rows.values() for finding in row.findings}
        if rows and self.options.positive not in known:
            issues.add(
                f"positive: no film has '{self.options.positive}'; expected one of "
                f"{name_some(known)}"
            )

    def _label(self, row: nih_files.NihRow) -> int:
        return int(self.options.positive in row.findings)

    def _read_boxes(
        self, tables: dict[str, Path], issues: ReaderIssues
    ) -> dict[str, list[NDArray[np.float64]]]:
        """Return the boxes of the finding by film, where they are asked for."""
        if not self.options.boxes:
            return {}
        tables["boxes"] = find_table(self.folder, None, [nih_files.BOXES], "")
        boxes = {
            film: [box for finding, box in drawn if finding == self.options.positive]
            for film, drawn in nih_files.read_boxes(tables["boxes"], issues).items()
        }
        return {film: held for film, held in boxes.items() if held}

    def _is_usable(self, masks: ChexmaskTable, film: str) -> bool:
        place = masks.places.get(film)
        return place is not None and (place.dice is None or place.dice >= self.options.min_dice)

    def _read_mask(self, film: str, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
        masks = self.contents.masks
        if not self._is_usable(masks, film):
            return None
        return masks.read_mask(film, shape)

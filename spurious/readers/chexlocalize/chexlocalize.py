"""CheXpert with the masks of CheXlocalize: findings, and the devices that give them away."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.config.release_fields import name_attribute
from spurious.config.releases import ChexlocalizeOptions
from spurious.data.outlines import measure_outline
from spurious.data.overlaps import measure_overlaps
from spurious.data.records import Record
from spurious.data.specificity import count_components
from spurious.data.splits import SPLITS
from spurious.errors import DataError
from spurious.readers.base import FolderReader, Index, name_and_hash
from spurious.readers.chexlocalize.chexpert_files import (
    TABLES,
    UNCERTAIN,
    Row,
    find_films,
    read_labels,
)
from spurious.readers.chexlocalize.finding_masks import draw_finding, read_masks
from spurious.readers.grey_films import read_grey
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import join_rows
from spurious.readers.marks.pathology_masks import PathologyImage
from spurious.readers.resize import shrink_image, shrink_mask
from spurious.readers.split_draw import draw_splits

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ChexlocalizeIndex(Index):
    """Films that have a file and a row of labels."""

    rows: Mapping[str, Row]
    masks: Mapping[str, PathologyImage]
    splits: Mapping[str, str]


class Chexlocalize(FolderReader[ChexlocalizeOptions, ChexlocalizeIndex]):
    """Two releases as one record source: JPEG films and labels, run-length masks.

    Folder: `CheXpert/` with `train/`, `valid/` (or `val/`), `test/` and their tables, and
    `CheXlocalize/` with `gt_segmentations_val.json` and `gt_segmentations_test.json`.

    - Label 1 is a film with the finding. What a label of -1 (uncertain) is, is an option; not
      mentioned is 0, as in the code of CheXpert.
    - Attribute `support_devices` (or another finding): None where it is uncertain.
    - Masks are drawn on `val` and `test` alone: on films of train `mask` is None. A film that the
      files do not list has nothing drawn on it: an empty mask where its label is 0, and None
      where it is 1, as for an empty mask of a film of label 1.
    - `overlaps`: how the device's own mask lies to the mask of the finding.
    - Only frontal films, unless `views` is all.
    """

    name = "chexlocalize"
    partial = True

    def __init__(self, folder: Path, options: ChexlocalizeOptions) -> None:
        super().__init__(folder, options)
        self.films = self.folder / options.films
        self.masks = self.folder / options.masks
        self.attribute = name_attribute(options.attribute)
        self.attribute_names = (self.attribute,)
        self.declared_directions = {self.attribute: +1}

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 1) uint8.

        Raises:
            DataError: Unreadable file, or a mask of another film.
        """
        contents, options = self.contents, self.options
        row, side = contents.rows[sample_id], options.image_size
        pixels = read_grey(path)
        shape = (pixels.shape[0], pixels.shape[1])
        mask = self._mask(sample_id, row, shape)
        features = self._features(sample_id, shape)
        device = row.values[options.attribute]
        return Record(
            sample_id=sample_id,
            patient_id=sample_id.split("_")[0],
            split=contents.splits[sample_id],
            label=self._label(row),
            image=shrink_image(pixels, side, side)[:, :, None],
            mask=None if mask is None else shrink_mask(mask, side, side),
            abnormalities=0 if mask is None else count_components(mask),
            attributes={self.attribute: None if device == UNCERTAIN else bool(device)},
            covariates=row.covariates,
            outline=None if mask is None else measure_outline(mask),
            overlaps={} if mask is None else measure_overlaps(features, mask),
            features={name: shrink_mask(drawn, side, side) for name, drawn in features.items()},
        )

    def read_index(self, issues: ReaderIssues) -> ChexlocalizeIndex:
        """Join films, labels and masks."""
        options, size = self.options, self.options.image_size
        findings = (options.positive, options.attribute)
        paths: dict[str, Path] = {}
        rows: dict[str, Row] = {}
        tables: dict[str, Path] = {}
        for split in SPLITS:
            table = self._find_table(split)
            if table is not None:
                tables[f"{split}_table"] = table
                self._read_split(split, table, findings, paths, rows, issues)
        if not rows and not issues.count:
            issues.add(
                f"{self.films}: no {' or '.join(TABLES['val'])} with a film; name the folder of "
                "CheXpert with 'films'"
            )
        masks, files = read_masks(self.masks, issues)
        issues.raise_if_any(self.name)
        usable = {name: path for name, path in paths.items() if self._is_taken(name, rows[name])}
        splits, source = self._splits({name: rows[name] for name in usable})
        tables |= {f"{split}_masks": path for split, path in files.items()}
        return ChexlocalizeIndex(
            images=dict(sorted(usable.items())),
            origin={
                "format": "CheXpert with CheXlocalize",
                "positive": options.positive,
                "uncertain": options.uncertain,
                "split": source,
                "image": f"area-averaged to {size}, aspect not kept",
                "mask": f"the finding, of val and test as released, max-pooled to {size}",
                **{name: name_and_hash(path) for name, path in tables.items()},
            },
            left_out={"films_of_other_views_or_uncertain": len(paths) - len(usable)},
            rows={name: rows[name] for name in usable},
            masks={name: image for name, image in masks.items() if name in usable},
            splits=splits,
        )

    def _find_table(self, split: str) -> Path | None:
        paths = (self.films / name for name in TABLES[split])
        return next((path for path in paths if path.is_file()), None)

    def _read_split(
        self,
        split: str,
        table: Path,
        findings: tuple[str, ...],
        paths: dict[str, Path],
        rows: dict[str, Row],
        issues: ReaderIssues,
    ) -> None:
        """Add the films of one split that have a row."""
        try:
            labelled = read_labels(table, split, findings, issues)
        except DataError as error:
            issues.add(str(error))
            return
        films = find_films(self.films, split, issues)
        joined = join_rows(films, labelled, table.name, issues)
        for name in joined.keys() & paths.keys():
            issues.add(f"{table.name}: {name} is in another split, too; remove one")
        paths |= joined
        rows |= {name: labelled[name] for name in joined}

    def _is_taken(self, name: str, row: Row) -> bool:
        uncertain = row.values[self.options.positive] == UNCERTAIN
        if uncertain and self.options.uncertain == "leave-out":
            return False
        return self.options.views == "all" or name.endswith("frontal")

    def _splits(self, rows: Mapping[str, Row]) -> tuple[dict[str, str], str]:
        """Return the release's splits, or drawn ones where shares are given."""
        options = self.options
        if not options.split:
            return {name: row.split for name, row in rows.items()}, "as released"
        strata = {
            name: (self._label(row), row.values[options.attribute]) for name, row in rows.items()
        }
        patients = {name: name.split("_")[0] for name in rows}
        text = f"drawn {options.split} by patient, label and attribute, seed {options.seed}"
        return draw_splits(patients, strata, options), text

    def _label(self, row: Row) -> int:
        value = row.values[self.options.positive]
        return int(self.options.uncertain == "positive") if value == UNCERTAIN else value

    def _mask(self, film: str, row: Row, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
        label = self._label(row)
        if row.split == "train":
            return None
        mask = draw_finding(self.contents.masks, film, self.options.positive, shape)
        if mask is None:
            return None if label else np.zeros(shape, bool)
        if not label and mask.any():
            _log.warning("%s: label 0, but %s is drawn on it", film, self.options.positive)
        return None if label and not mask.any() else mask

    def _features(self, film: str, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
        """Return the mask of the device where it is drawn, (H, W) as the film."""
        device = draw_finding(self.contents.masks, film, self.options.attribute, shape)
        return {} if device is None or not device.any() else {self.attribute: device}

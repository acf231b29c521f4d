"""CANDID-PTX: films with masks of pneumothoraces, and of the chest tubes that treat them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.config.releases import CandidPtxOptions
from spurious.data.outlines import measure_outline
from spurious.data.overlaps import measure_overlaps
from spurious.data.records import Record
from spurious.data.specificity import count_components
from spurious.errors import DataError
from spurious.readers.base import FolderReader, Index, name_and_hash
from spurious.readers.candid_ptx.candid_tables import (
    FRACTURES,
    REPORTS,
    TUBES,
    Reports,
    draw_codes,
    find_films,
    read_list,
    read_reports,
)
from spurious.readers.dicom import read_film
from spurious.readers.dicom_tags import describe_patient
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import join_rows
from spurious.readers.pick_files import find_table
from spurious.readers.resize import shrink_image, shrink_mask
from spurious.readers.split_draw import draw_splits

Codes = Mapping[str, tuple[tuple[int, str], ...]]


@dataclass(frozen=True, kw_only=True)
class CandidIndex(Index):
    """Films with a report that says whether there is a pneumothorax, and the lists."""

    reports: Reports
    features: Mapping[str, Codes]
    tables: Mapping[str, str]
    splits: Mapping[str, str]


class CandidPtx(FolderReader[CandidPtxOptions, CandidIndex]):
    """The release as a record source: DICOM files without ending, tables of run-length masks.

    Folder: `dataset/<SOPInstanceUID>` (or `images/`, `chest_radiographs/`, `dataset1/dataset/`),
    `Pneumothorax_reports.csv`, `chest_tube.csv` and `acute_rib_fracture.csv`.

    - Label 1 means a non-empty mask. Rows of one film are united; exact copies count once.
    - Attribute `tube`: the film is in the list of tubes. Lists name only films that have one, so
      every other film of the reports has none.
    - `overlaps`: how the tube's own mask lies to that of the pneumothorax.
    - `patient_id` is what is before the first `_` of `filename`. A film under two patients is
      left out, and so is one whose code is blank or contradicted by another row.
    - The release names no splits; they are drawn by patient, label and tube.
    """

    name = "candid-ptx"
    declared_directions: Mapping[str, int] = {"tube": +1}

    def __init__(self, folder: Path, options: CandidPtxOptions) -> None:
        super().__init__(folder, options)
        self.lists = {"tube": TUBES} | ({"rib_fracture": FRACTURES} if options.fractures else {})
        self.attribute_names = tuple(self.lists)

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 1) uint8.

        Raises:
            DataError: Unreadable file or a mask of another size.
        """
        contents, side = self.contents, self.options.image_size
        film, pixels = contents.reports.films[sample_id], read_film(path).pixels
        shape = (pixels.shape[0], pixels.shape[1])
        mask = draw_codes(film.codes, shape, f"{REPORTS}, film {sample_id},")
        features = self._features(sample_id, shape)
        return Record(
            sample_id=sample_id,
            patient_id=film.patient,
            split=contents.splits[sample_id],
            label=int(mask.any()),
            image=shrink_image(pixels, side, side)[:, :, None],
            mask=shrink_mask(mask, side, side),
            abnormalities=count_components(mask),
            attributes={name: sample_id in codes for name, codes in contents.features.items()},
            covariates=describe_patient(path),
            outline=measure_outline(mask),
            overlaps=measure_overlaps(features, mask),
            features={name: shrink_mask(drawn, side, side) for name, drawn in features.items()},
        )

    def read_index(self, issues: ReaderIssues) -> CandidIndex:
        """Join films, reports and lists."""
        options, size = self.options, self.options.image_size
        paths = find_films(self.folder, issues)
        features: dict[str, Codes] = {}
        tables: dict[str, Path] = {}
        reports = Reports({}, (), (), ())
        try:
            tables["reports"] = find_table(self.folder, None, [REPORTS], "")
            reports = read_reports(tables["reports"], issues)
            for name, names in self.lists.items():
                tables[name] = find_table(self.folder, None, names, "")
                features[name] = read_list(tables[name], issues)
        except DataError as error:
            issues.add(str(error))
        unusable = {*reports.without_mask, *reports.of_two_patients, *reports.contradicted}
        known = reports.films.keys() | unusable
        images = join_rows(paths, known, REPORTS, issues, rests=True)
        images = {film: path for film, path in images.items() if film not in unusable}
        issues.raise_if_any(self.name)
        films = {film: reports.films[film] for film in images}
        strata = {
            film: (int(bool(row.codes)), int(film in features["tube"]))
            for film, row in films.items()
        }
        patients = {film: row.patient for film, row in films.items()}
        return CandidIndex(
            images=images,
            origin={
                "format": "CANDID-PTX",
                "split": f"drawn {options.split} by patient, label and tube, seed {options.seed}",
                "image": f"area-averaged to {size}, scaled by BitsStored, no window",
                "mask": f"union of rows, max-pooled to {size}",
                **{name: name_and_hash(path) for name, path in tables.items()},
            },
            left_out={
                "images_without_row": len(paths.keys() - known),
                "rows_without_image": len(known - paths.keys()),
                "films_without_mask": len(reports.without_mask),
                "films_of_two_patients": len(reports.of_two_patients),
                "films_contradicted": len(reports.contradicted),
            },
            reports=Reports(films, (), (), ()),
            features=features,
            tables={name: path.name for name, path in tables.items()},
            splits=draw_splits(patients, strata, options),
        )

    def _features(self, film: str, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
        """Return the masks of what the lists say of a film, (H, W) as the film."""
        drawn = {
            name: draw_codes(codes[film], shape, f"{self.contents.tables[name]}, film {film},")
            for name, codes in self.contents.features.items()
            if film in codes
        }
        return {name: mask for name, mask in drawn.items() if mask.any()}

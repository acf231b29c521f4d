"""RSNA Pneumonia Detection Challenge 2018: films with boxes, and the view as spurious attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spurious.config.releases import RsnaPneumoniaOptions
from spurious.data.records import Record
from spurious.errors import DataError
from spurious.readers.base import FolderReader, Index, name_and_hash
from spurious.readers.dicom import read_film
from spurious.readers.dicom_tags import describe_patient
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import join_rows, name_some
from spurious.readers.pick_files import find_named, find_table
from spurious.readers.resize import shrink_image
from spurious.readers.rsna_pneumonia.rsna_tables import Film, read_boxes, read_classes
from spurious.readers.split_draw import draw_splits
from spurious.readers.staged_boxes import fit_boxes

IMAGES, TABLE = "stage_2_train_images", "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"


@dataclass(frozen=True, kw_only=True)
class RsnaIndex(Index):
    """Films that have a file and a row of the box table."""

    films: Mapping[str, Film]
    classes: Mapping[str, str]
    splits: Mapping[str, str]


class RsnaPneumonia(FolderReader[RsnaPneumoniaOptions, RsnaIndex]):
    """The stage-2 release as a record source: DICOM films and boxes, no masks.

    Folder: `stage_2_train_images/<film>.dcm`, `stage_2_train_labels.csv`, and
    `stage_2_detailed_class_info.csv`, which may be missing.

    - Label 1 is a film with boxes of possible pneumonia; each row of a film is one box. A film
      without pneumonia was looked at, so its boxes are empty. `mask` is None: nobody drew one.
    - Attribute `ap`: the header's view is AP (bedside), None where it is neither AP nor PA. It goes
      with pneumonia in the release.
    - Covariates: sex, age and view of the header, and the detailed class ("Normal", "No Lung
      Opacity / Not Normal", "Lung Opacity").
    - `patient_id` is the film's id. The films are of NIH ChestX-ray14, whose patients the release
      does not name, so splits may share them.
    - The release names no splits; they are drawn by label. Its test films have no labels.
    """

    name = "rsna-pneumonia"
    attribute_names = ("ap",)
    declared_directions: Mapping[str, int] = {"ap": +1}
    partial = True

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 1) uint8.

        Raises:
            DataError: Unreadable file, or a box outside of it.
        """
        contents, side = self.contents, self.options.image_size
        film, pixels = contents.films[sample_id], read_film(path).pixels
        covariates = describe_patient(path)
        view = covariates["view"]
        return Record(
            sample_id=sample_id,
            patient_id=sample_id,
            split=contents.splits[sample_id],
            label=int(bool(film.boxes)),
            image=shrink_image(pixels, side, side)[:, :, None],
            mask=None,
            abnormalities=len(film.boxes),
            attributes={"ap": view == "AP" if view in ("AP", "PA") else None},
            boxes=fit_boxes(
                film.boxes, pixels.shape, side, f"{TABLE} line {film.line}, film {sample_id}"
            ),
            covariates={**covariates, "class": contents.classes.get(sample_id)},
        )

    def read_index(self, issues: ReaderIssues) -> RsnaIndex:
        """Join films and the tables."""
        paths = find_named(
            self.folder, [(IMAGES, 0)], (".dcm",), issues, example=f"{IMAGES}/<film>.dcm"
        )
        films: dict[str, Film] = {}
        classes: Mapping[str, str] = {}
        try:
            films = read_boxes(find_table(self.folder, None, [TABLE], ""), issues)
            if (self.folder / CLASSES).is_file():
                classes = read_classes(find_table(self.folder, None, [CLASSES], ""), issues)
        except DataError as error:
            issues.add(str(error))
        images = join_rows(paths, films, TABLE, issues)
        if classes and (without := images.keys() - classes.keys()):
            issues.add(
                f"{CLASSES}: no row of {len(without)} films ({name_some(without)}), as where it is "
                "cut off; restore it from the release, or remove it"
            )
        issues.raise_if_any(self.name)
        size, options = self.options.image_size, self.options
        strata = {film: (int(bool(films[film].boxes)),) for film in images}
        return RsnaIndex(
            images=images,
            origin={
                "format": "RSNA Pneumonia Detection Challenge, stage 2, training",
                "split": f"drawn {options.split} by film and label, seed {options.seed}",
                "image": f"area-averaged to {size}, scaled by BitsStored, no window",
                "mask": "not drawn",
                "boxes": f"as released, scaled outwards to {size}",
                "patients": "not known; every film counts as one",
                "box_table": name_and_hash(self.folder / TABLE),
            },
            left_out={
                "images_without_row": len(paths) - len(images),
                "rows_without_image": len(films) - len(images),
            },
            films=films,
            classes=classes,
            splits=draw_splits({film: film for film in images}, strata, options),
        )

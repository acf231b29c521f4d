"""NIH ChestX-ray14 and PadChest as one set: the site goes with the finding, until it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spurious.config.releases import PADCHEST_LABELS, NihPadchestOptions
from spurious.data.records import Covariate, Record
from spurious.errors import DataError
from spurious.readers.base import FolderReader, Index, name_and_hash
from spurious.readers.grey_films import read_grey
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import join_rows
from spurious.readers.nih import nih_files
from spurious.readers.nih_padchest import padchest_files
from spurious.readers.nih_padchest.site_draw import Candidate, draw_sites
from spurious.readers.pick_files import find_table
from spurious.readers.resize import shrink_image

_VIEWS = {"PA": ("PA",), "frontal": ("PA", "AP", "AP_horizontal")}
_RADIUS = 1 / 2.5
"""Of the circle, in sides of the image, as in the code of Viviano et al. 2021."""


@dataclass(frozen=True)
class _Film:
    path: Path
    candidate: Candidate
    covariates: Mapping[str, Covariate]


@dataclass(frozen=True, kw_only=True)
class SitesIndex(Index):
    """The films that were drawn."""

    films: Mapping[str, _Film]
    splits: Mapping[str, str]


class NihPadchest(FolderReader[NihPadchestOptions, SitesIndex]):
    """Two releases as one record source, with a chosen correlation of site and finding.

    Folder: `NIH/` with `Data_Entry_2017_v2020.csv` and `images/*.png` (or `images_001/images/` to
    `images_012/images/`), and `PadChest/` with its table of labels and folders of 16-bit PNGs.

    - Label 1 is a film with the finding, label 0 any other of the same views.
    - Attribute `site` is True for PadChest. In train the share `correlation` of the positives is
      from PadChest and of the negatives from NIH; in val and test it is the other way round.
    - One film a patient is taken, a positive one where there is any (`draw_sites`).
    - The mask is a circle in the middle, the same on every film of either label: a prior of where
      to look and not a drawing (`mask: circle` of the provenance).
    - Labels of PadChest are compared whole; films without labels are left out.
    """

    name = "nih-padchest"
    attribute_names = ("site",)
    declared_directions: Mapping[str, int] = {"site": +1}
    partial = True

    def __init__(self, folder: Path, options: NihPadchestOptions) -> None:
        super().__init__(folder, options)
        self.nih = self.folder / options.nih
        self.padchest = self.folder / options.padchest

    def read_record(self, sample_id: str, path: Path) -> Record:
        """Decode, shrink and return one record; image (size, size, 1) uint8.

        Raises:
            DataError: Unreadable file.
        """
        film, side = self.contents.films[sample_id], self.options.image_size
        pixels = read_grey(path, self.options.window)
        circle = self.options.mask == "circle"
        return Record(
            sample_id=sample_id,
            patient_id=f"{_name_site(film.candidate.site)}-{film.candidate.patient}",
            split=self.contents.splits[sample_id],
            label=film.candidate.label,
            image=shrink_image(pixels, side, side)[:, :, None],
            mask=draw_circle(side) if circle else None,
            abnormalities=int(circle),
            attributes={"site": film.candidate.site},
            covariates={"source": _name_site(film.candidate.site), **film.covariates},
        )

    def read_index(self, issues: ReaderIssues) -> SitesIndex:
        """Join both releases and draw films of them."""
        options = self.options
        tables: dict[str, Path] = {}
        films = dict(self._read_sites(tables, issues))
        issues.raise_if_any(self.name)
        splits = draw_sites(
            {name: film.candidate for name, film in films.items()},
            options.correlation,
            options.split,
            options.seed,
            options.films,
        )
        if not splits:
            raise DataError(
                f"{self.name}: no films to draw: each site needs patients with and without "
                f"{options.positive} among its films of view {options.views}"
            )
        circle = "circle" if options.mask == "circle" else "not drawn"
        return SitesIndex(
            images={name: films[name].path for name in sorted(splits)},
            origin={
                "format": "NIH ChestX-ray14 and PadChest",
                "positive": f"{options.positive}, {PADCHEST_LABELS[options.positive]}",
                "split": f"drawn {options.split}, one film a patient, seed {options.seed}; site "
                f"and finding agree at {options.correlation:g} in train, "
                f"{1 - options.correlation:g} in val and test",
                "image": f"area-averaged to {options.image_size}, aspect not kept, 16 bits by "
                f"window {options.window}",
                "mask": circle,
                **{name: name_and_hash(path) for name, path in tables.items()},
            },
            left_out={"films_beyond_balance": len(films) - len(splits)},
            films={name: films[name] for name in splits},
            splits=splits,
        )

    def _read_sites(
        self, tables: dict[str, Path], issues: ReaderIssues
    ) -> Iterator[tuple[str, _Film]]:
        """Yield the films of both sites that have a label and a view that is taken."""
        views, finding = _VIEWS[self.options.views], self.options.positive
        try:
            tables["nih_table"] = find_table(self.nih, None, nih_files.TABLES, "nih")
            findings = nih_files.read_findings(tables["nih_table"], issues)
            paths = nih_files.find_films(self.nih, issues)
            table = f"the NIH table {tables['nih_table'].name}"
            for name, path in join_rows(paths, findings, table, issues).items():
                row = findings[name]
                if row.view in views:
                    candidate = Candidate(row.patient, False, int(finding in row.findings))
                    yield f"nih-{path.stem}", _Film(path, candidate, row.covariates)
        except DataError as error:
            issues.add(str(error))
        try:
            path = find_table(self.padchest, None, [padchest_files.TABLE], "padchest")
            tables["padchest_table"] = path
            labels = padchest_files.read_labels(path, issues)
            paths = padchest_files.find_films(self.padchest, issues)
            joined = join_rows(paths, labels, f"the PadChest table {path.name}", issues, rests=True)
            for name, path in joined.items():
                held = labels[name]
                if held.labels is not None and held.view in views:
                    positive = PADCHEST_LABELS[finding] in held.labels
                    candidate = Candidate(held.patient, True, int(positive))
                    yield f"padchest-{path.stem}", _Film(path, candidate, held.covariates)
        except DataError as error:
            issues.add(str(error))


def draw_circle(side: int) -> NDArray[np.bool_]:
    """Return (side, side) bool, True within a circle around the middle of 0.4 sides."""
    distance = (np.arange(side) - side // 2) / (side * _RADIUS)
    return np.asarray(distance[:, None] ** 2 + distance[None, :] ** 2 < 1)


def _name_site(padchest: bool) -> str:
    return "padchest" if padchest else "nih"
